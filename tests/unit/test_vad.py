from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np

from server.audio.vad import CHUNK_SECONDS, places_without_voice, voiced_seconds
from server.types import SAMPLE_RATE, ServerVad

CLIP = Path(__file__).parents[1] / "audio" / "pt-chuva.ogg"


def _speech() -> np.ndarray:
    resampler = av.AudioResampler("s16", "mono", 16_000)
    with av.open(str(CLIP)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def test_speech_has_voice_and_noise_has_none() -> None:
    """Most of a spoken sentence is voice; noise, a tone and silence are not."""
    speech = _speech()
    assert 0.6 * len(speech) / 16_000 < voiced_seconds(speech) <= len(speech) / 16_000
    time = np.arange(80_000) / 16_000
    random = np.random.default_rng(1)
    for other in (
        random.normal(0, 3000, 80_000),
        10_000 * np.sin(2 * np.pi * 440 * time),
        np.zeros(80_000),
    ):
        assert voiced_seconds(other.astype(np.int16)) < 0.25


def test_a_distant_voice_is_heard() -> None:
    """At -70 dBFS still; noise is not made a voice by bringing it near."""
    speech = _speech()
    far = (speech * 10 ** (-50 / 20)).round().astype(np.int16)
    assert voiced_seconds(far) > 0.5 * voiced_seconds(speech)
    hiss = np.random.default_rng(2).normal(0, 10, 80_000).astype(np.int16)
    assert voiced_seconds(hiss) < 0.25


def test_each_call_starts_afresh_in_every_thread() -> None:
    """What was heard before changes nothing, and calls side by side do not mix."""
    speech, silence = _speech(), np.zeros(32_000, dtype=np.int16)
    expected = [voiced_seconds(speech), 0.0] * 4
    with ThreadPoolExecutor(4) as pool:
        assert expected == list(pool.map(voiced_seconds, [speech, silence] * 4))


def test_less_than_a_chunk_is_not_heard() -> None:
    """Up to 31 ms there is nothing to say."""
    assert 0.0 == voiced_seconds(np.full(511, 20_000, dtype=np.int16))


def _probabilities(*runs: tuple[float, float]) -> np.ndarray:
    """(probability, seconds) after one another."""
    return np.concatenate([np.full(round(s / CHUNK_SECONDS), p, np.float32) for p, s in runs])


def test_cuts_lie_in_silences_that_are_long_enough() -> None:
    """So far before the next voice as is asked for, but not inside the voice before."""
    heard = _probabilities((0.9, 3.2), (0.1, 0.96), (0.9, 3.2), (0.1, 0.16), (0.9, 3.2))
    voice_again = round(4.16 * SAMPLE_RATE)

    assert [voice_again - 4800] == places_without_voice(heard, ServerVad())
    assert [round(3.2 * SAMPLE_RATE)] == places_without_voice(
        heard, ServerVad(prefix_padding_ms=5000)
    )
    assert 2 == len(places_without_voice(heard, ServerVad(silence_duration_ms=100)))
    assert [] == places_without_voice(heard, ServerVad(silence_duration_ms=1000))


def test_the_threshold_says_what_is_voice() -> None:
    """A voice of 0.6 is one below that threshold, and silence above."""
    heard = _probabilities((0.9, 3.2), (0.6, 0.96), (0.9, 3.2))

    assert [] == places_without_voice(heard, ServerVad(threshold=0.5))
    assert 1 == len(places_without_voice(heard, ServerVad(threshold=0.7)))
    assert voiced_seconds(_speech(), 0.9) < voiced_seconds(_speech(), 0.1)


def test_before_and_after_all_voice_nothing_is_cut() -> None:
    """There is no voice on one side of such a cut."""
    heard = _probabilities((0.1, 3.2), (0.9, 3.2), (0.1, 3.2))

    assert [] == places_without_voice(heard, ServerVad())
    assert [] == places_without_voice(_probabilities((0.1, 3.2)), ServerVad())
