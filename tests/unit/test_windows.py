from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from server.audio.windows import cut, is_as_loud, is_silent, levels
from server.types import SAMPLE_RATE

RANDOM = np.random.default_rng(7)


def _noise(seconds: float, level_db: float) -> np.ndarray:
    scale = 32767 * 10 ** (level_db / 20)
    count = round(seconds * SAMPLE_RATE)
    return np.clip(RANDOM.normal(0, scale, count), -32768, 32767).astype(np.int16)


def _speech_like(pauses: list[float], total: float) -> np.ndarray:
    """Loud noise with 400 ms of quiet around each instant in `pauses`."""
    pcm = _noise(total, -20)
    for at in pauses:
        first = round((at - 0.2) * SAMPLE_RATE)
        pcm[first : first + round(0.4 * SAMPLE_RATE)] = _noise(0.4, -60)
    return pcm


def test_levels_are_decibels_below_full_scale() -> None:
    """Noise at -20 dBFS measures -20, digital silence -100."""
    assert abs(levels(_noise(1.0, -20)).mean() + 20) < 1
    np.testing.assert_allclose(levels(np.zeros(16_000, dtype=np.int16)), -100, atol=1e-4)


def test_a_short_recording_is_one_span() -> None:
    """Up to 30 s nothing is cut."""
    pcm = _speech_like([10, 20], 30.0)
    assert [(0, len(pcm))] == [(s.start, s.end) for s in cut(levels(pcm), len(pcm))]


def test_cuts_fall_into_pauses() -> None:
    """Every cut is inside one of the quiet places, never in the loud part."""
    pauses = [7.0, 13.5, 22.0, 28.0, 41.0, 55.5, 63.0, 80.0]
    pcm = _speech_like(pauses, 90.0)
    spans = cut(levels(pcm), len(pcm))
    assert max(span.duration for span in spans) <= 30.0
    for span in spans[1:]:
        nearest = min(abs(span.start / SAMPLE_RATE - at) for at in pauses)
        assert nearest <= 0.2


def test_quiet_speakers_pauses_count_too() -> None:
    """A part 35 dB softer than the rest is cut at its own pauses."""
    soft = _speech_like([5, 15, 25, 35, 45], 50.0) // 56
    loud = _speech_like([8, 18, 29, 40], 50.0)
    pcm = np.concatenate([loud, soft])
    for span in cut(levels(pcm), len(pcm))[1:]:
        at = span.start / SAMPLE_RATE
        pauses = [8, 18, 29, 40, 50, 55, 65, 75, 85, 95]
        assert min(abs(at - pause) for pause in pauses) <= 0.6


def test_speech_without_a_pause_stays_together() -> None:
    """Where there is no quiet place, a span is longer than 30 s instead of being cut anywhere."""
    pcm = _speech_like([20.0, 75.0], 100.0)
    assert [0, 20, 75, 100] == [
        round(edge) for edge in [0, *(s.end / SAMPLE_RATE for s in cut(levels(pcm), len(pcm)))]
    ]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0.3, 39.0), max_size=12),
    st.floats(0.0, 130.0),
    st.integers(0, 159),
)
def test_spans_cover_the_recording(gaps: list[float], total: float, odd: int) -> None:
    """Without gap or overlap, from the first sample to the last, whatever the audio."""
    pcm = np.concatenate([_noise(total, -20), np.zeros(odd, dtype=np.int16)])
    for at in np.cumsum(gaps):
        pcm[round(at * SAMPLE_RATE) : round((at + 0.5) * SAMPLE_RATE)] = 0
    spans = cut(levels(pcm), len(pcm))
    if not len(pcm):
        assert spans == []
        return
    assert (0, len(pcm)) == (spans[0].start, spans[-1].end)
    assert all(before.end == after.start for before, after in pairwise(spans))
    assert all(span.start < span.end for span in spans)


def test_two_hours_are_cut_in_seconds() -> None:
    """The cost grows with the length, not with its square: 2 h make 240 windows or a bit more."""
    block = _speech_like([5.0, 12.0, 19.5, 27.0, 33.0, 41.0, 48.0, 56.0], 60.0)
    level = np.tile(levels(block), 120)
    spans = cut(level, 120 * len(block))
    assert 240 <= len(spans) <= 330


def test_silence_is_only_what_nobody_hears() -> None:
    """Digital silence and the last bit are silent, a whisper at -60 dBFS is not."""
    assert is_silent(levels(np.ones(16_000, dtype=np.int16)))
    assert not is_silent(levels(_noise(1.0, -60)))


def test_a_rest_counts_only_at_speech_level() -> None:
    """A rest 6 dB below what was heard is looked at again, one 30 dB below is not."""
    heard = levels(_noise(5.0, -20))
    assert is_as_loud(levels(_noise(3.0, -26)), heard)
    assert not is_as_loud(levels(_noise(3.0, -50)), heard)


@given(st.lists(st.integers(1, 1_999_999), max_size=12, unique=True), st.integers(1, 2_000_000))
@settings(deadline=None)
def test_given_places_are_the_only_ones_and_nothing_is_left_out(
    places: list[int], n_samples: int
) -> None:
    """Wherever somebody lets a recording be cut, the spans cover it from end to end."""
    level = np.full(-(-n_samples // 160), -20.0, dtype=np.float32)
    inside = sorted(place for place in places if 160 <= place < n_samples - 160)
    spans = cut(level, n_samples, inside)

    assert (0, n_samples) == (spans[0].start, spans[-1].end)
    assert all(before.end == after.start for before, after in pairwise(spans))
    assert {span.start for span in spans[1:]} <= {place // 160 * 160 for place in inside}


def test_of_given_places_those_are_taken_that_make_few_windows() -> None:
    """Not each of them: a window costs the same however short it is."""
    level = np.full(9000, -20.0, dtype=np.float32)
    places = [second * SAMPLE_RATE for second in range(1, 90)]
    spans = cut(level, 90 * SAMPLE_RATE, places)

    assert 3 == len(spans)
    assert max(span.duration for span in spans) <= 30.0
