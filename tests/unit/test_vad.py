from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np

from server.audio.vad import voiced_seconds

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
