from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.decoding.context import WHOLE, has_lost_its_way, repeats_its_end, view_frames
from server.decoding.fallback import compression_ratio
from server.types import DecodingResult, TranscriptionOptions

OPTIONS = TranscriptionOptions()
PLAIN = "Depois de três semanas, a chuva parou e as crianças correram até o rio."


def _result(text: str, **changes: float) -> DecodingResult:
    plain = DecodingResult("pt", (1,), text, -0.2, 0.01, 0.0, compression_ratio(text))
    return replace(plain, **changes)


@given(duration=st.floats(0.01, 30.0), min_frames=st.sampled_from((200, 400, WHOLE)))
def test_a_view_holds_the_window_and_silence_after_it(duration: float, min_frames: int) -> None:
    """Four seconds of it, or whatever is left of Whisper's 30 s; an engine's least is kept."""
    frames = view_frames(duration, min_frames)
    assert min_frames <= frames <= WHOLE
    assert 0 == frames % 2
    assert frames >= min(WHOLE, 100 * duration + 400)


def test_a_long_window_has_the_whole_view() -> None:
    """A view that is hardly shorter is not worth a guess."""
    assert WHOLE == view_frames(22.1, 200)


def test_plain_text_is_not_doubted() -> None:
    """Nor is a word that is said again, or a phrase in the middle."""
    for text in (PLAIN, "Não, não, não foi isso.", "That is, that is what I mean. Yes, yes."):
        assert not has_lost_its_way(_result(text), OPTIONS, 4.0)


@pytest.mark.parametrize(
    "result",
    [
        _result(f"{PLAIN} {PLAIN}"),
        _result("下雨了孩子们跑到河边下雨了孩子们跑到河边"),
        _result("la " * 60),
        _result(""),
        _result("..."),
        _result(PLAIN, avg_logprob=-0.9),
        _result(PLAIN, no_speech_prob=0.4),
        _result(PLAIN, compression_ratio=2.0),
        _result(PLAIN[:30] + " x" * 60),
    ],
)
def test_what_looks_odd_is_doubted(result: DecodingResult) -> None:
    """Doubled, looped, missing, unlikely, or more than anybody can say in that time."""
    assert has_lost_its_way(result, OPTIONS, 4.0)


def test_a_callers_stricter_threshold_counts() -> None:
    """What the ladder would try again is never taken from a fitted view."""
    assert has_lost_its_way(_result(PLAIN), replace(OPTIONS, logprob_threshold=-0.1), 4.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Heavy rain and hail. Heavy rain and hail.", True),
        ("Heavy rain and hail. Heavy rain and hail. Heavy rain", True),
        ("And then heavy rain, heavy rain!", True),
        ("Heavy rain and hail", False),
        ("Heavy rain, heavy rain and hail", False),
        ("5 5", False),
        ("", False),
    ],
)
def test_an_end_that_is_said_twice(text: str, expected: bool) -> None:
    """Also cut off in the middle of a round; marks and spaces between rounds do not hide it."""
    assert expected == repeats_its_end(text)
