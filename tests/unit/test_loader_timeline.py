"""Silence that time stamps ask for, and time stamps that are not to be believed."""

import pytest

from server.audio.loader_timeline import Timeline

FRAME = 0.02


def _silences(start: float | None, times: list[float | None]) -> list[float]:
    timeline = Timeline(start)
    return [timeline.silence_before(time, FRAME) for time in times]


def test_frames_in_a_row_need_nothing() -> None:
    """A film whose clock starts at 1.4 s, as in a transport stream, has no silence in front."""
    assert _silences(1.4, [1.4 + FRAME * i for i in range(50)]) == [0.0] * 50


def test_late_sound_and_gaps_are_filled() -> None:
    """What is missing before the first frame, and between two, is put in whole."""
    assert _silences(0.0, [2.0, 2.02, 3.04]) == pytest.approx([2.0, 0.0, 1.0])


def test_a_codecs_padding_is_no_gap() -> None:
    """An mp3's clock starts at its encoder's delay: that is not filled."""
    assert _silences(0.0, [0.025, 0.051]) == [0.0, 0.0]


def test_trembling_times_fill_a_hole_once() -> None:
    """A burst that comes 0.3 s late and is caught up with does not lengthen the recording again."""
    times = [0.0, 0.32, 0.02 + FRAME, 0.36, 0.06]

    assert sum(_silences(0.0, times)) == pytest.approx(0.3)


def test_a_clock_at_a_wrong_rate_cuts_no_speech_to_pieces() -> None:
    """Frames that each stand three times too far apart are taken one after the other."""
    assert sum(_silences(0.0, [3 * FRAME * i for i in range(500)])) == 0.0


@pytest.mark.parametrize("restart", [0.0, 9_000.0])
def test_a_clock_that_is_set_anew_is_followed(restart: float) -> None:
    """After a jump of hours, or back to 0 (a chained stream), gaps count from there."""
    times = [100.0, 100.02, restart, restart + 0.02, restart + 1.04]

    assert _silences(100.0, times) == pytest.approx([0.0, 0.0, 0.0, 0.0, 1.0])


def test_frames_without_times_follow_one_another() -> None:
    """Raw streams have no clock: nothing is put in."""
    assert _silences(None, [None] * 5) == [0.0] * 5
