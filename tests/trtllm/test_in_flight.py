"""The TensorRT-LLM engine on its double: what goes right and, above all, what goes wrong.

`tests/contract` has what it shares with every engine; `test_engine_speech.py` what it hears.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from engine_folder import CARD, make_folder, open_double, small_checkpoint
from executor_double import Faults, Watch
from structlog.testing import capture_logs

from server.audio.features import log_mel
from server.decoding.prompt import build_prompt
from server.decoding.tokenizer import Tokenizer
from server.engines.in_flight import InFlightEngine
from server.engines.manifest import Manifest, verify
from server.errors import DeadlineExceeded, EngineError, EngineUnavailable
from server.types import AlignmentRequest, GenerationOptions, GenerationRequest

pytestmark = pytest.mark.model  # for the vocabulary: the weights are random and small

MEL = log_mel(np.random.default_rng(5).normal(0, 0.05, 32_000).astype(np.float32), 80)

Open = Callable[..., InFlightEngine]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Whisper of random weights, as an engine for an L40 of eight windows."""
    path = tmp_path_factory.mktemp("engine")
    make_folder(path, small_checkpoint())
    return path


@pytest.fixture(scope="module")
def tokenizer(weights_dir: Path) -> Tokenizer:
    """The multilingual vocabulary."""
    return Tokenizer.load(weights_dir / "base" / "tokenizer.json")


@pytest.fixture
def manifest(folder: Path) -> Manifest:
    """Of that engine."""
    return verify(folder, CARD)


@pytest.fixture
def open_engine(folder: Path, manifest: Manifest, tokenizer: Tokenizer) -> Iterator[Open]:
    """Opens engines, and closes them in the end."""
    opened: list[InFlightEngine] = []

    def run(**options: Any) -> InFlightEngine:
        changes = options.pop("changes", {})
        opened.append(open_double(folder, replace(manifest, **changes), tokenizer, **options))
        return opened[-1]

    yield run
    for engine in opened:
        engine.close(1)


def request(tokenizer: Tokenizer, number: int = 1, **changes: Any) -> GenerationRequest:
    """A window of noise, greedily, twelve tokens at most."""
    options = GenerationOptions(
        beam_size=1, max_new_tokens=12, suppress_tokens=tokenizer.suppress_tokens
    )
    return replace(
        GenerationRequest(number, build_prompt(tokenizer, "pt", "transcribe"), options, MEL),
        **changes,
    )


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def test_windows_join_and_leave_a_running_batch(open_engine: Open, tokenizer: Tokenizer) -> None:
    """Late ones join between two steps, short ones leave, and each gets what it gets alone."""
    watch = Watch()
    engine = open_engine(faults=Faults(seconds_a_step=0.01), watch=watch)
    alone = engine.generate(request(tokenizer)).result(60).hypotheses[0]
    watch.batches.clear()
    long = engine.generate(request(tokenizer, 1))
    until(lambda: len(watch.batches) > 3)
    options = replace(request(tokenizer).options, max_new_tokens=2)
    short = engine.generate(request(tokenizer, 2, options=options))
    assert alone.tokens[:2] == short.result(60).hypotheses[0].tokens
    assert not long.done()
    assert alone.tokens == long.result(60).hypotheses[0].tokens
    assert {1, 2} <= {len(batch) for batch in watch.batches}
    assert 1 == len(watch.batches[0]) == len(watch.batches[-1])


def test_forced_tokens_are_no_text_and_cost_no_certainty(
    open_engine: Open, tokenizer: Tokenizer
) -> None:
    """The prompt ends at <|startoftranscript|>; what is forced after it is not in the answer."""
    watch = Watch()
    engine = open_engine(watch=watch)
    previous = tokenizer.encode(" antes disso")
    prompt = build_prompt(tokenizer, "pt", "transcribe", previous=previous, without_timestamps=True)
    result = engine.generate(request(tokenizer, prompt=prompt)).result(60)
    assert [tokenizer.sot_prev, *previous, tokenizer.sot] == watch.requests[0].input_token_ids
    assert 3 + 12 == watch.requests[0].max_tokens
    assert len(result.hypotheses[0].tokens) <= 12
    assert not set(result.hypotheses[0].tokens) & set(prompt[-4:])
    assert 3 + len(result.hypotheses[0].tokens) <= len(watch.batches)


def test_block_reuse_is_off_and_a_reused_block_ends_the_engine(
    open_engine: Open, tokenizer: Tokenizer
) -> None:
    """Blocks are found by tokens, which are alike for different recordings: never, by no path."""
    watch, faults = Watch(), Faults()
    engine = open_engine(watch=watch, faults=faults)
    cache = watch.executors[0].config.kv_cache_config
    assert cache.enable_block_reuse is False
    engine.generate(request(tokenizer)).result(60)
    faults.reuse_blocks = True
    future = engine.generate(request(tokenizer))
    until(lambda: not engine.stats().healthy)
    assert future.exception(10) is None or isinstance(future.exception(), EngineUnavailable)
    with pytest.raises(EngineUnavailable):
        engine.generate(request(tokenizer)).result(10)


def test_the_share_of_the_cache_in_use_is_told(open_engine: Open, tokenizer: Tokenizer) -> None:
    """Unknown before the first step; the more, the more windows are in flight."""
    watch = Watch()
    engine = open_engine(watch=watch, faults=Faults(seconds_a_step=0.02))
    assert engine.stats().kv_cache_used is None
    options = replace(request(tokenizer).options, max_new_tokens=200)
    futures = [engine.generate(request(tokenizer, 7, options=options)) for _ in range(3)]
    until(lambda: any(len(batch) == 3 for batch in watch.batches))
    until(lambda: (engine.stats().kv_cache_used or 0) > 0)
    assert (engine.stats().kv_cache_used or 2) <= 1
    engine.cancel(7)
    assert all(future.cancelled() for future in futures)


def test_samples_are_of_one_request_and_seeded_by_the_window(
    open_engine: Open, tokenizer: Tokenizer
) -> None:
    """Best-of asks for so many sequences; the same window gives the same ones, in any company."""
    watch = Watch()
    engine = open_engine(watch=watch)
    options = replace(request(tokenizer).options, temperature=0.8, num_hypotheses=5)
    first, _, again = (
        engine.generate(request(tokenizer, number, options=options)) for number in range(3)
    )
    texts = [each.tokens for each in first.result(60).hypotheses]
    assert 5 == len(texts)
    assert len(set(texts)) > 1
    assert texts == [each.tokens for each in again.result(60).hypotheses]
    sampling = watch.requests[0].sampling_config
    assert (5, 0, 1.0, 0.8) == (
        sampling.num_return_sequences, sampling.top_k, sampling.top_p, sampling.temperature,
    )  # fmt: skip
    assert max(len(batch) for batch in watch.batches) <= 8


def test_more_samples_than_places_are_as_many_as_there_are_places(
    open_engine: Open, tokenizer: Tokenizer
) -> None:
    """A request that could never be taken in would wait for ever."""
    engine = open_engine(changes={"windows": 2})
    options = replace(request(tokenizer).options, temperature=0.8, num_hypotheses=5)
    assert 2 == len(engine.generate(request(tokenizer, options=options)).result(60).hypotheses)


def test_a_window_goes_to_the_gpu_with_the_fewest(open_engine: Open, tokenizer: Tokenizer) -> None:
    """Two GPUs share the windows; to the scheduler they are one engine with all their places."""
    watch = Watch()
    engine = open_engine(watch=watch, devices=(0, 3), faults=Faults(seconds_a_step=0.005))
    assert [[0], [3]] == [each.config.parallel_config.device_ids for each in watch.executors]
    assert 16 == engine.info.max_in_flight + engine.info.spare
    futures = [engine.generate(request(tokenizer, number)) for number in range(8)]
    texts = {future.result(60).hypotheses[0].tokens for future in futures}
    assert 1 == len(texts)
    assert [4, 4] == [each.last_id for each in watch.executors]


@contextmanager
def logged() -> Iterator[list[Any]]:
    """What is logged meanwhile, however another test has set logging up."""
    config = structlog.get_config()
    structlog.reset_defaults()
    try:
        with capture_logs() as events:
            yield events
    finally:
        structlog.configure(**config)


def test_no_more_is_in_flight_than_the_cache_holds(open_engine: Open, tokenizer: Tokenizer) -> None:
    """Statistics tell that the cache is smaller than planned: the others wait, none is lost."""
    watch = Watch()
    faults = Faults(cross_blocks=3 * 47 + 5, seconds_a_step=0.002)
    with logged() as events:
        engine = open_engine(watch=watch, faults=faults)
        engine.generate(request(tokenizer)).result(60)
        watch.batches.clear()
        futures = [engine.generate(request(tokenizer, number)) for number in range(9)]
        assert all(future.result(60).hypotheses for future in futures)
    assert 3 == max(len(batch) for batch in watch.batches)
    assert "kv_cache_small" in [event["event"] for event in events]


def test_cancelling_stops_a_window_in_flight(open_engine: Open, tokenizer: Tokenizer) -> None:
    """At its next step, not at its end; the executor lets go of it, and strangers go on."""
    watch = Watch()
    engine = open_engine(watch=watch, faults=Faults(seconds_a_step=0.02))
    options = replace(request(tokenizer).options, max_new_tokens=200)
    mine = [engine.generate(request(tokenizer, 7, options=options)) for _ in range(2)]
    other = engine.generate(request(tokenizer, 8))
    until(lambda: any(len(batch) == 3 for batch in watch.batches))
    engine.cancel(7)
    assert all(future.cancelled() for future in mine)
    assert other.result(60).hypotheses
    until(lambda: engine.stats().running == 0 and not watch.executors[0].active)
    assert 2 == len(watch.cancelled)
    assert len(watch.batches) < 100


def test_a_future_that_is_cancelled_is_as_good_as_cancel(
    open_engine: Open, tokenizer: Tokenizer
) -> None:
    """A client that leaves cancels its future: the window is stopped too."""
    watch = Watch()
    engine = open_engine(watch=watch, faults=Faults(seconds_a_step=0.02))
    options = replace(request(tokenizer).options, max_new_tokens=200)
    future = engine.generate(request(tokenizer, options=options))
    until(lambda: len(watch.batches) > 1)
    assert future.cancel()
    until(lambda: bool(watch.cancelled) and not watch.executors[0].active)
    assert wait([future], 1).done


@pytest.mark.parametrize("slow_clock", [False, True])
def test_a_deadline_ends_a_window_in_flight(
    open_engine: Open, tokenizer: Tokenizer, slow_clock: bool
) -> None:
    """By the executor's own clock, or by ours where it does not count."""
    watch = Watch()
    engine = open_engine(watch=watch, faults=Faults(seconds_a_step=0.02, slow_clock=slow_clock))
    options = replace(request(tokenizer).options, max_new_tokens=200)
    engine.generate(request(tokenizer)).result(60)
    started = time.monotonic()
    future = engine.generate(request(tokenizer, options=options, deadline=started + 0.4))
    with pytest.raises(DeadlineExceeded):
        future.result(60)
    assert time.monotonic() - started < 3
    assert 0.3 < watch.requests[-1].allotted_time_ms.total_seconds() <= 0.4
    until(lambda: not watch.executors[0].active)


def test_a_deadline_counts_while_a_window_waits(open_engine: Open, tokenizer: Tokenizer) -> None:
    """It never gets to a GPU."""
    watch = Watch()
    engine = open_engine(watch=watch, changes={"windows": 1}, faults=Faults(seconds_a_step=0.05))
    options = replace(request(tokenizer).options, max_new_tokens=200)
    engine.generate(request(tokenizer, 1, options=options))
    until(lambda: bool(watch.batches))
    late = engine.generate(request(tokenizer, 2, deadline=time.monotonic() + 0.1))
    with pytest.raises(DeadlineExceeded):
        late.result(5)
    assert 1 == len(watch.requests)


@pytest.mark.parametrize("fault", ["refuse", "reject"])
def test_a_refused_window_is_an_error_of_its_own(
    open_engine: Open, tokenizer: Tokenizer, fault: str
) -> None:
    """Thrown at once, or answered: the engine stays, and the client is told no path."""
    faults = Faults(**{fault: True})
    engine = open_engine(faults=faults)
    with pytest.raises(EngineError) as caught:
        engine.generate(request(tokenizer)).result(60)
    assert "/" not in str(caught.value.text)
    setattr(faults, fault, False)
    assert engine.generate(request(tokenizer)).result(60).hypotheses
    assert engine.stats().healthy


@pytest.mark.parametrize("fault", ["fail_step", "deaf", "hang"])
def test_a_broken_executor_ends_everything_and_is_not_healthy(
    open_engine: Open, tokenizer: Tokenizer, fault: str
) -> None:
    """A step that fails, answers that cannot be had, a kernel that hangs: 503, then restart."""
    watch, faults = Watch(), Faults(seconds_a_step=0.02)
    engine = open_engine(watch=watch, faults=faults, changes={"windows": 2}, window_timeout=0.5)
    options = replace(request(tokenizer).options, max_new_tokens=100, temperature=0.5)
    futures = [
        engine.generate(request(tokenizer, number, options=replace(options, num_hypotheses=count)))
        for number, count in enumerate((2, 1, 1))
    ]
    until(lambda: bool(watch.batches))
    setattr(faults, fault, True)
    for future in futures:
        with pytest.raises((EngineUnavailable, EngineError)):
            future.result(10)
    assert not engine.stats().healthy
    with pytest.raises(EngineUnavailable):
        engine.generate(request(tokenizer)).result(10)
    setattr(faults, fault, False)


def test_answers_may_come_late_and_twice(open_engine: Open, tokenizer: Tokenizer) -> None:
    """In any order, those of one request too; what nobody waits for is dropped."""
    watch = Watch()
    engine = open_engine(watch=watch, faults=Faults(late_answers=True, seconds_a_step=0.005))
    futures = [engine.generate(request(tokenizer, number % 3)) for number in range(9)]
    options = replace(request(tokenizer).options, temperature=0.9, num_hypotheses=3)
    futures += [engine.generate(request(tokenizer, 5, options=options)) for _ in range(12)]
    engine.cancel(1)
    done = [future for future in futures if not future.cancelled()]
    assert len(done) >= 6 + 12
    assert all(future.result(60).hypotheses for future in done)
    assert engine.stats().healthy


def test_an_end_token_in_the_answer_is_no_text(open_engine: Open, tokenizer: Tokenizer) -> None:
    """The executor leaves it out; should a version not, the text is the same."""
    options = replace(request(tokenizer).options, suppress_tokens=tuple(range(50_256)))
    prompt = build_prompt(tokenizer, "pt", "transcribe", without_timestamps=True)
    found = []
    for included in (False, True):
        engine = open_engine(faults=Faults(ends_included=included))
        asked = request(tokenizer, prompt=prompt, options=replace(options, suppress_blank=False))
        found.append(engine.generate(asked).result(60).hypotheses[0])
    assert found[0] == found[1]
    assert tokenizer.eot not in found[0].tokens


def test_rules_that_were_not_applied_are_noticed(open_engine: Open, tokenizer: Tokenizer) -> None:
    """An executor that calls no post-processor gives no transcript, however plausible."""
    engine = open_engine(faults=Faults(rules_skipped=True))
    with pytest.raises(EngineError):
        engine.generate(request(tokenizer)).result(60)


def test_a_window_that_cannot_be_cancelled_breaks_the_engine(
    open_engine: Open, tokenizer: Tokenizer
) -> None:
    """Places that never come back would starve everybody."""
    watch, faults = Watch(), Faults(seconds_a_step=0.02, cancel_fails=True)
    engine = open_engine(watch=watch, faults=faults)
    options = replace(request(tokenizer).options, max_new_tokens=200)
    future = engine.generate(request(tokenizer, options=options))
    until(lambda: bool(watch.batches))
    future.cancel()
    until(lambda: not engine.stats().healthy)


def test_closing_ends_every_future_and_takes_its_time_only(
    open_engine: Open, tokenizer: Tokenizer
) -> None:
    """Also with a kernel that hangs; later requests are refused."""
    watch, faults = Watch(), Faults(seconds_a_step=0.02)
    engine = open_engine(watch=watch, faults=faults, changes={"windows": 2})
    options = replace(request(tokenizer).options, max_new_tokens=200)
    futures = [engine.generate(request(tokenizer, n, options=options)) for n in range(5)]
    until(lambda: bool(watch.batches))
    faults.hang = True
    started = time.monotonic()
    engine.close(0.3)
    assert time.monotonic() - started < 2
    for future in (*futures, engine.generate(request(tokenizer))):
        with pytest.raises(EngineError):
            future.result(1)
    faults.hang = False


@pytest.mark.parametrize(
    "changes",
    [
        {"features": None},
        {"features": MEL[:, :2999]},
        {"features": np.zeros((128, 3000), np.float32)},
        {"prompt": ()},
        {"prompt": (50_361,) * 446 + (50_258, 50_259, 50_359)},
    ],
)
def test_windows_that_are_none_are_refused(
    open_engine: Open, tokenizer: Tokenizer, changes: dict[str, Any]
) -> None:
    """Before they reach an executor: other lengths than 30 s go wrong on a GPU."""
    watch = Watch()
    engine = open_engine(watch=watch)
    with pytest.raises(EngineError):
        engine.generate(request(tokenizer, **changes)).result(60)
    assert not watch.requests


def test_without_an_aligner_it_says_so(open_engine: Open, tokenizer: Tokenizer) -> None:
    """In its description, and to whoever asks all the same."""
    engine = open_engine()
    assert not engine.info.aligns
    future = engine.align(AlignmentRequest(1, (50_258,), (1, 2), 100, MEL))
    with pytest.raises(EngineError):
        future.result(1)


def test_nothing_is_left_behind(open_engine: Open, tokenizer: Tokenizer) -> None:
    """After good, cancelled and overdue windows no state of them is kept, and no block."""
    watch = Watch()
    engine = open_engine(watch=watch, faults=Faults(seconds_a_step=0.002))
    futures = [engine.generate(request(tokenizer, number)) for number in range(6)]
    futures.append(engine.generate(request(tokenizer, 9, deadline=time.monotonic() + 0.05)))
    engine.cancel(3)
    wait(futures, 60)
    executor = watch.executors[0]
    until(lambda: not executor.active and not executor.answers)
    processor = executor.config.logits_post_processor_config.processor_batched
    until(lambda: len(processor) == 0)
    assert executor.all_blocks == (executor.free_own, executor.free_cross)
