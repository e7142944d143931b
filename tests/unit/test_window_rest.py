import numpy as np

from server.audio.windows import levels
from server.decoding.timing import Timing
from server.job import Job
from server.scheduler import Share, Turn
from server.types import SAMPLE_RATE, Audio, SpeechSegment, TranscriptionOptions, Window
from server.window_rest import unheard

NOISE = np.random.default_rng(3).normal(0, 3000, 30 * SAMPLE_RATE).astype(np.int16)
WINDOW = Window(0, 30 * SAMPLE_RATE, np.zeros((80, 3000), dtype=np.float32))


def _rests(words: list[tuple[float, float]], stop: float = 30.0) -> list[tuple[float, float]]:
    job = Job(
        Audio(NOISE),
        levels(NOISE),
        TranscriptionOptions(),
        Turn(1, None, Share(), 30.0),
        lambda _: None,
    )
    timings = [Timing(" a", 1, start, end, 1.0) for start, end in words]
    found = unheard(job, WINDOW, timings, 0.4, round(stop * SAMPLE_RATE))
    return [_seconds(rest) for rest in found]


def _seconds(rest: SpeechSegment) -> tuple[float, float]:
    return rest.start / SAMPLE_RATE, rest.end / SAMPLE_RATE


def test_loud_stretches_without_a_word_are_found() -> None:
    """Before, between and after the words, from 2 s on."""
    assert [(0.0, 5.0), (5.8, 9.0), (9.5, 30.0)] == _rests([(5.0, 6.0), (9.0, 9.5)])
    assert [] == _rests([(at, at + 1.9) for at in np.arange(0.0, 30.0, 2.0)] + [(29.0, 30.0)])


def test_a_word_does_not_cover_the_pause_after_it() -> None:
    """It counts for twice the typical length, 0.4 s here."""
    assert [(2.8, 20.0), (20.5, 30.0)] == _rests([(0.0, 0.5), (2.0, 20.0), (20.0, 20.5)])[-2:]


def test_a_stretch_that_the_next_window_begins_in_is_looked_at_up_to_there() -> None:
    """Nothing between the last word and the next window's start is left out."""
    assert [(0.0, 5.0), (5.5, 25.0)] == _rests([(5.0, 5.5), (27.0, 27.5)], stop=25.0)


def test_a_rest_of_nearly_the_whole_window_is_not_met_for_ever() -> None:
    """It has to be at least a second shorter."""
    assert [] == _rests([(0.0, 0.5)])
    assert [(1.2, 30.0)] == _rests([(0.4, 1.5)])
