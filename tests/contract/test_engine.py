"""What every engine promises, whichever it is."""

import time
from dataclasses import replace

import numpy as np
import pytest

from server.audio.features import log_mel
from server.decoding.prompt import build_prompt
from server.decoding.tokenizer import Tokenizer
from server.engines.base import Engine
from server.errors import DeadlineExceeded
from server.types import AlignmentRequest, GenerationOptions, GenerationRequest

Loaded = tuple[Engine, Tokenizer]
RANDOM = np.random.default_rng(3)


def _request(loaded: Loaded, request_id: int = 1, **changes: object) -> GenerationRequest:
    """A window of noise in Portuguese, greedy and short."""
    engine, tokenizer = loaded
    samples = RANDOM.normal(0, 0.05, 32_000).astype(np.float32)
    request = GenerationRequest(
        request_id,
        build_prompt(tokenizer, "pt", "transcribe", without_timestamps=True),
        GenerationOptions(
            beam_size=1, max_new_tokens=16, suppress_tokens=tokenizer.suppress_tokens
        ),
        log_mel(samples, engine.info.n_mels),
    )
    return replace(request, **changes)  # type: ignore[arg-type]


def test_info_is_true_and_constant(loaded: Loaded) -> None:
    """Portuguese and English are there, and the features' size is one that Whisper has."""
    engine, tokenizer = loaded
    assert engine.info == engine.info
    assert {"pt", "en"} <= set(engine.info.languages) <= set(tokenizer.language_tokens)
    assert engine.info.n_mels in (80, 128)
    assert engine.info.max_in_flight >= 1


def test_tokens_hold_no_prompt_and_no_end(loaded: Loaded) -> None:
    """Only what was generated, at most as many as asked for, none that is suppressed."""
    engine, tokenizer = loaded
    request = _request(loaded)
    result = engine.generate(request).result(60)
    (hypothesis,) = result.hypotheses
    assert len(hypothesis.tokens) <= 16
    assert tokenizer.eot not in hypothesis.tokens
    assert tokenizer.sot not in hypothesis.tokens
    assert not set(hypothesis.tokens) & set(tokenizer.suppress_tokens)
    assert hypothesis.sum_logprob < 0
    assert 0 <= result.no_speech_prob <= 1
    assert result.compute_s >= 0
    assert result.queue_s >= 0


def test_encoded_can_be_used_again(loaded: Loaded) -> None:
    """A second run without features gives the same tokens at temperature 0."""
    engine, _ = loaded
    first = engine.generate(_request(loaded)).result(60)
    again = _request(loaded, features=None, encoded=first.encoded)
    assert first.hypotheses[0].tokens == engine.generate(again).result(60).hypotheses[0].tokens


def test_a_batch_gives_what_its_windows_give_alone(loaded: Loaded) -> None:
    """Who else is in the batch changes nothing."""
    engine, _ = loaded
    requests = [_request(loaded, index) for index in range(6)]
    alone = [engine.generate(request).result(60).hypotheses[0] for request in requests]
    futures = [engine.generate(request) for request in requests]
    for expected, future in zip(alone, futures, strict=True):
        found = future.result(60).hypotheses[0]
        assert expected.tokens == found.tokens
        assert abs(expected.sum_logprob - found.sum_logprob) < 0.05 * len(found.tokens) + 0.05


def test_the_windows_of_a_recording_are_shared_out(loaded: Loaded) -> None:
    """Of five, two workers take three and two, though one batch could hold four."""
    engine, _ = loaded
    requests = [_request(loaded, beside=5) for _ in range(5)]
    futures = [engine.generate(request) for request in requests]
    sizes = sorted(future.result(60).batch_size for future in futures)
    assert [2, 2, 3, 3, 3] == sizes or not engine.info.name.startswith("ctranslate2")


def test_an_urgent_window_shares_no_batch(loaded: Loaded) -> None:
    """It does not wait until others like it are done, too. In flight none waits for another."""
    engine, _ = loaded
    futures = [engine.generate(_request(loaded, index)) for index in range(6)]
    urgent = engine.generate(_request(loaded, 6, urgent=True))
    assert 1 == urgent.result(60).batch_size or engine.info.name == "tensorrt_llm"
    assert all(future.result(60).hypotheses for future in futures)


def test_prompts_of_any_length_may_wait_together(loaded: Loaded) -> None:
    """The engine sorts out what can share a batch; every future ends with a result."""
    engine, tokenizer = loaded
    futures = []
    for index, count in enumerate((0, 5, 0, 223, 5)):
        prompt = build_prompt(
            tokenizer, "en", "transcribe", previous=tokenizer.encode(" a")[:1] * count
        )
        futures.append(engine.generate(_request(loaded, index, prompt=prompt)))
    assert all(future.result(60).hypotheses for future in futures)


def test_windows_of_any_length_may_wait_together(loaded: Loaded) -> None:
    """From the engine's least to Whisper's 30 s; each ends with what it gives alone."""
    engine, _ = loaded
    requests = []
    for n_frames in (engine.info.min_frames, 3000, engine.info.min_frames, 3000):
        whole = _request(loaded)
        assert whole.features is not None
        requests.append(replace(whole, features=whole.features[:, :n_frames]))
    alone = [engine.generate(request).result(60).hypotheses[0].tokens for request in requests]
    futures = [engine.generate(request) for request in requests]
    assert alone == [future.result(60).hypotheses[0].tokens for future in futures]


def test_a_short_window_is_aligned_within_itself(loaded: Loaded) -> None:
    """Words are placed in the encoding that their text came from."""
    engine, tokenizer = loaded
    request = _request(loaded)
    assert request.features is not None
    n_frames = engine.info.min_frames
    result = engine.generate(replace(request, features=request.features[:, :n_frames])).result(60)
    tokens = tokenizer.encode(" um dois")
    start = tokenizer.sot_sequence("pt", "transcribe")
    alignment = engine.align(
        AlignmentRequest(1, start, tokens, 150, encoded=result.encoded)
    ).result(60)
    assert set(range(len(tokens))) <= {token for token, _ in alignment.path}
    assert all(0 <= frame <= 75 for _, frame in alignment.path)


def test_languages_are_probabilities(loaded: Loaded) -> None:
    """They sum to at most 1, name languages that the engine has, and come with the encoding."""
    engine, _ = loaded
    detection = engine.detect_language(_request(loaded)).result(60)
    assert 0.5 < sum(detection.language_probs.values()) <= 1.001
    assert set(detection.language_probs) <= set(engine.info.languages)
    assert detection.encoded is not None


def test_alignment_is_a_monotonic_path_over_the_tokens(loaded: Loaded) -> None:
    """Both indices only grow, every token is met, frames stay inside the audio."""
    engine, tokenizer = loaded
    request = _request(loaded)
    tokens = tokenizer.encode(" um dois")
    alignment = engine.align(
        AlignmentRequest(
            1, tokenizer.sot_sequence("pt", "transcribe"), tokens, 200, request.features
        )
    ).result(60)
    assert len(tokens) == len(alignment.text_token_probs)
    assert set(range(len(tokens))) <= {token for token, _ in alignment.path}
    assert all(0 <= frame <= 100 for _, frame in alignment.path)
    for (token, frame), (next_token, next_frame) in zip(
        alignment.path, alignment.path[1:], strict=False
    ):
        assert token <= next_token
        assert frame <= next_frame


def test_a_deadline_in_the_past_is_not_computed(loaded: Loaded) -> None:
    """It ends with DeadlineExceeded."""
    engine, _ = loaded
    future = engine.generate(_request(loaded, deadline=time.monotonic() - 1))
    with pytest.raises(DeadlineExceeded):
        future.result(60)


def test_cancel_is_idempotent_and_ends_what_waits(loaded: Loaded) -> None:
    """Every future of the request ends, cancelled or done; strangers are untouched."""
    engine, _ = loaded
    mine = [engine.generate(_request(loaded, 77)) for _ in range(8)]
    other = engine.generate(_request(loaded, 78))
    engine.cancel(77)
    engine.cancel(77)
    engine.cancel(12345)
    assert other.result(60).hypotheses
    assert all(future.cancelled() or future.result(60) for future in mine)


def test_stats_tell_an_idle_engine(loaded: Loaded) -> None:
    """When everything has ended nothing waits or runs."""
    engine, _ = loaded
    engine.generate(_request(loaded)).result(60)
    stats = engine.stats()
    assert (0, 0, True) == (stats.waiting, stats.running, stats.healthy)
