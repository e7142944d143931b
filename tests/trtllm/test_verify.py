from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_build import verify
from engine_build.errors import GateError
from engine_build.golden import GoldenWindow, read_golden
from engine_build.verify import Heard, gate, listen, word_errors
from server.decoding.tokenizer import Tokenizer
from server.engines import ctranslate2
from server.engines.base import Engine
from server.engines.fake import FakeEngine, byte_tokenizer
from server.errors import EngineError
from server.types import GenerationRequest, GenerationResult, Hypothesis

TABLE = Path(__file__).parents[1] / "audio" / "manifest.tsv"
TOKENIZER = byte_tokenizer()
TEXTS = ("one two three", "four five six", "seven eight nine")


def window(number: int) -> GoldenWindow:
    features = np.full((80, 3000), number, np.float32)
    return GoldenWindow(f"clip{number}", "en", TEXTS[number], features)


WINDOWS = tuple(map(window, range(3)))


def says(text: str, avg_logprob: float = -0.2) -> Hypothesis:
    tokens = TOKENIZER.encode(" " + text)
    return Hypothesis(tokens, avg_logprob * (len(tokens) + 1))


def right(request: GenerationRequest) -> Hypothesis:
    """What is said in each window."""
    assert request.features is not None
    return says(TEXTS[int(request.features[0, 0])])


class InCompany:
    """An engine that answers otherwise once a second window has been asked for beside."""

    def __init__(self, otherwise: Hypothesis) -> None:
        self._otherwise = otherwise
        self._engine = FakeEngine(right)
        self._last: Future[GenerationResult] | None = None

    def generate(self, request: GenerationRequest) -> Any:
        alone = self._last is None or self._last.done()
        future = self._engine.generate(request)
        if not alone:
            future = Future()
            future.set_result(GenerationResult((self._otherwise,), 0.0, None, 0.0, 0.0))
        self._last = future if alone else self._last
        return _Slow(future) if alone else future

    def close(self, timeout: float) -> None:
        self._engine.close(timeout)


class _Slow:
    """A future that is not done before somebody waits for it."""

    def __init__(self, future: Future[GenerationResult]) -> None:
        self._future = future
        self._waited = False

    def result(self, timeout: float) -> GenerationResult:
        self._waited = True
        return self._future.result(timeout)

    def done(self) -> bool:
        return self._waited


@pytest.fixture
def reference() -> Iterator[dict[str, Heard]]:
    """What a sound engine hears."""
    engine = FakeEngine(right)
    yield listen(engine, TOKENIZER, WINDOWS)
    engine.close(1)


def run(script: Any, reference: dict[str, Heard]) -> Any:
    engine = FakeEngine(script)
    try:
        return gate(engine, reference, TOKENIZER, WINDOWS)
    finally:
        engine.close(1)


def test_the_same_engine_passes(reference: dict[str, Heard]) -> None:
    """And its numbers are those of a sound one."""
    result = run(right, reference)
    assert (3, 0.0, 0.0) == (result.clips, result.wer, result.reference_wer)
    assert (0.0, 0.0) == (result.max_logprob_difference, result.max_company_difference)


def test_wrong_words_do_not_pass(reference: dict[str, Heard]) -> None:
    """One of nine is more than the rise that is allowed."""

    def wrong(request: GenerationRequest) -> Hypothesis:
        answer = right(request)
        return says("four five sax") if answer == says("four five six") else answer

    with pytest.raises(GateError, match=r"word error rate 11\.1%, the reference engine has 0\.0%"):
        run(wrong, reference)


def test_doubt_does_not_pass(reference: dict[str, Heard]) -> None:
    """The right words with other log-probabilities are another model, or a worse one."""

    def unsure(request: GenerationRequest) -> Hypothesis:
        answer = right(request)
        return replace(answer, sum_logprob=1.5 * answer.sum_logprob)

    with pytest.raises(GateError, match=r"differ from the reference engine's by up to 0\.100"):
        run(unsure, reference)


@pytest.mark.parametrize(
    ("otherwise", "reason"),
    [
        (says("your neighbour"), "in company: clip1 becomes 'your neighbour'"),
        (says("four five six", -0.25), r"change in company by up to 0\.050"),
    ],
)
def test_company_must_not_matter(
    reference: dict[str, Heard], otherwise: Hypothesis, reason: str
) -> None:
    """A window whose result depends on who shares its batch hears other people's audio."""
    engine: Any = InCompany(otherwise)
    windows = WINDOWS[1:2] * 3
    with pytest.raises(GateError, match=reason):
        gate(engine, {"clip1": reference["clip1"]}, TOKENIZER, windows)
    engine.close(1)


def test_an_engine_that_fails_does_not_pass(reference: dict[str, Heard]) -> None:
    """The window is named."""

    def broken(_: GenerationRequest) -> Hypothesis:
        raise EngineError("out of memory")

    with pytest.raises(GateError, match="failed on clip0: out of memory"):
        run(broken, reference)


words = st.lists(st.sampled_from("abc"), max_size=6)


@given(words, words)
def test_word_errors_are_a_distance(said: list[str], heard: list[str]) -> None:
    """None between equals, the same in both directions, bounded by the lengths."""
    errors = word_errors(said, heard)
    assert (errors == 0) == (said == heard)
    assert errors == word_errors(heard, said)
    assert abs(len(said) - len(heard)) <= errors <= max(len(said), len(heard))


def test_word_errors_by_example() -> None:
    """One deletion, one insertion, one change."""
    assert 3 == word_errors(list("abcde"), list("acxdf"))


def test_unreadable_clips_are_a_word(tmp_path: Path) -> None:
    """A table that is not there, a clip that is no audio, none that is short enough."""
    with pytest.raises(GateError, match="cannot be read"):
        read_golden(tmp_path / "none.tsv", 80)
    table = tmp_path / "clips.tsv"
    (tmp_path / "a.ogg").write_bytes(b"no audio")
    table.write_text("file\tlanguage\ttext\na.ogg\ten\thello\n")
    with pytest.raises(GateError, match="cannot be read"):
        read_golden(table, 80)
    table.write_text("file\tlanguage\ttext\n")
    with pytest.raises(GateError, match="no clip of at most 30 s"):
        read_golden(table, 80)


@pytest.fixture(scope="module")
def clips() -> tuple[GoldenWindow, ...]:
    """The spoken clips that come with the project."""
    return read_golden(TABLE, 80)


def load(weights_dir: Path, compute_type: str) -> ctranslate2.CTranslate2Engine:
    return ctranslate2.load(
        "base", weights_dir / "base", compute_type=compute_type, workers=2, threads=1,
        max_batch_size=4,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer(weights_dir: Path) -> Tokenizer:
    """Of the real weights."""
    return Tokenizer.load(weights_dir / "base" / "tokenizer.json")


@pytest.fixture(scope="module")
def trusted(
    weights_dir: Path, tokenizer: Tokenizer, clips: tuple[GoldenWindow, ...]
) -> dict[str, Heard]:
    """What CTranslate2 hears in float32."""
    engine = load(weights_dir, "float32")
    heard = listen(engine, tokenizer, clips)
    engine.close(5)
    return heard


@pytest.mark.model
def test_a_quantised_engine_of_the_same_weights_passes(
    weights_dir: Path,
    tokenizer: Tokenizer,
    clips: tuple[GoldenWindow, ...],
    trusted: dict[str, Heard],
) -> None:
    """Real weights in int8 on real speech, against float32; how int8 rounds differs by CPU."""
    engine = load(weights_dir, "int8")
    limits = verify.Limits(wer_rise=0.03, logprob_difference=0.03)
    result = gate(engine, trusted, tokenizer, clips, limits)
    engine.close(5)
    assert 6 == result.clips
    assert result.wer < 0.1
    assert 0 < result.max_logprob_difference


class Deaf:
    """A real engine whose mel bands are all four too high."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def generate(self, request: GenerationRequest) -> Future[GenerationResult]:
        assert request.features is not None
        shifted = np.ascontiguousarray(np.roll(request.features, 4, axis=0))
        return self._engine.generate(replace(request, features=shifted))


@pytest.mark.model
def test_a_broken_engine_of_the_same_weights_does_not(
    weights_dir: Path,
    tokenizer: Tokenizer,
    clips: tuple[GoldenWindow, ...],
    trusted: dict[str, Heard],
) -> None:
    """The words survive that; the log-probabilities tell."""
    engine = load(weights_dir, "int8")
    broken: Any = Deaf(engine)
    with pytest.raises(GateError, match="log-probabilities differ"):
        gate(broken, trusted, tokenizer, clips)
    engine.close(5)
