"""When openai-whisper decodes a window anew or leaves it out, and when we do.

Two differences are wanted. openai-whisper keeps an unlikely text where it hears no speech,
and drops it afterwards; our guard drops it before the ladder, and only if there is no voice. And
when every temperature failed, openai-whisper keeps the last text, we the likeliest.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import whisper
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.decoding.fallback import compression_ratio, needs_fallback
from server.decoding.guard import reason_to_drop_window
from server.types import DecodingResult, TranscriptionOptions

OPTIONS = TranscriptionOptions()
TEXT_TOKEN = 2425
"""« Hello»."""


def _near(value: float) -> st.SearchStrategy[float]:
    """Numbers on both sides of a threshold, and the threshold."""
    return st.one_of(st.just(value), st.floats(value - 1, value + 1))


ATTEMPTS = st.builds(
    SimpleNamespace,
    compression_ratio=_near(OPTIONS.compression_ratio_threshold),
    avg_logprob=_near(OPTIONS.logprob_threshold),
    no_speech_prob=st.one_of(st.just(OPTIONS.no_speech_threshold), st.floats(0, 1)),
)


def _theirs(transcribe_by_heart: Callable[..., Any], attempt: SimpleNamespace) -> tuple[int, bool]:
    """How often openai-whisper decodes a window at up to two temperatures; whether it keeps it."""
    calls = []

    def answer(index: int) -> dict[str, Any]:
        calls.append(index)
        return {"tokens": [TEXT_TOKEN], "text": " Hello"} | vars(attempt)

    result = transcribe_by_heart(100, answer, temperature=(0.0, 0.2))
    return len(calls), bool(result["segments"])


def _ours(attempt: SimpleNamespace) -> DecodingResult:
    return DecodingResult("en", (TEXT_TOKEN,), " Hello", temperature=0.0, **vars(attempt))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attempt=ATTEMPTS)
def test_the_same_texts_are_decoded_anew(
    transcribe_by_heart: Callable[..., Any], attempt: SimpleNamespace
) -> None:
    """Both gates alike, up to openai-whisper's exception for what it takes for silence."""
    times, _ = _theirs(transcribe_by_heart, attempt)
    taken_for_silence = (
        attempt.no_speech_prob > OPTIONS.no_speech_threshold
        and attempt.avg_logprob < OPTIONS.logprob_threshold
    )
    assert (times == 2 or taken_for_silence) == (
        needs_fallback(_ours(attempt), OPTIONS) or taken_for_silence
    )
    assert not (times == 2 and taken_for_silence)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attempt=ATTEMPTS, voiced=st.floats(0, 30))
def test_what_openai_whisper_drops_we_drop_unless_there_is_voice(
    transcribe_by_heart: Callable[..., Any], attempt: SimpleNamespace, voiced: float
) -> None:
    """And nothing that it keeps is dropped as `no_speech`."""
    _, kept = _theirs(transcribe_by_heart, attempt)
    reason = reason_to_drop_window(_ours(attempt), OPTIONS, voiced=voiced, duration=1.0)
    silent = reason_to_drop_window(_ours(attempt), OPTIONS, voiced=0.0, duration=1.0)
    assert kept or silent is not None
    assert not kept or reason != "no_speech"


@given(text=st.text(min_size=1, max_size=300))
def test_texts_are_as_repetitive(text: str) -> None:
    """Bytes over compressed bytes, whatever the script."""
    assert whisper.utils.compression_ratio(text) == compression_ratio(text)
