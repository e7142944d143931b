"""Log-mel features of one window, as Whisper's encoder expects them.

Knows: the short-time Fourier transform and the mel scale.
Must not know: where the samples come from, which engine reads the features.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from server.types import SAMPLE_RATE, LogMel, Samples

N_FFT = 400
HOP_LENGTH = 160
N_SAMPLES = 480_000
"""30 s: the encoder's whole view."""
N_FRAMES = N_SAMPLES // HOP_LENGTH

BLOCK_FRAMES = 32
"""Small enough for the cache, and for the matrix product to stay on one thread: the library's
others would wait by spinning, on cores that the engine needs."""


def log_mel(samples: Samples, n_mels: int) -> LogMel:
    """Log-mel features of one window; the samples are padded with zeros to 30 s.

    Args:
        samples: float32 (n,), 16 kHz, n ≤ 480,000.
        n_mels: 80, or 128 for large-v3.

    Returns: float32 (n_mels, 3000).
    Source: openai/whisper audio.py: power of a Hann-windowed STFT, log10, no more than
        8 below the maximum, then (x + 4) / 4.
    """
    assert len(samples) <= N_SAMPLES, "This is a bug: a window holds at most 30 s"
    padded = np.zeros(N_SAMPLES + N_FFT, dtype=np.float32)
    padded[N_FFT // 2 : N_FFT // 2 + len(samples)] = samples
    # The STFT is centred: half a frame before the start and after the end is a mirror image.
    padded[: N_FFT // 2] = padded[N_FFT // 2 + 1 : N_FFT + 1][::-1]
    padded[-N_FFT // 2 :] = padded[-N_FFT - 1 : -N_FFT // 2 - 1][::-1]

    log_spec: LogMel = np.full((n_mels, N_FRAMES), -10.0, dtype=np.float32)
    # Frames that see only padding are silence: their spectrum need not be computed.
    busy = min(N_FRAMES, (len(samples) + N_FFT) // HOP_LENGTH + 1)
    if len(samples) > N_SAMPLES - N_FFT:
        busy = N_FRAMES
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_LENGTH][:busy]
    for first in range(0, busy, BLOCK_FRAMES):
        spectrum = np.fft.rfft(frames[first : first + BLOCK_FRAMES] * _hann(), axis=-1)
        power = spectrum.real**2 + spectrum.imag**2
        mel = np.maximum(mel_filters(n_mels) @ power.T, 1e-10)
        log_spec[:, first : first + len(power)] = np.log10(mel)
    np.maximum(log_spec, log_spec.max() - 8.0, out=log_spec)
    log_spec += 4.0
    log_spec /= 4.0
    return log_spec


@cache
def _hann() -> npt.NDArray[np.float32]:
    """The periodic Hann window that torch.hann_window makes."""
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(N_FFT) / N_FFT)).astype(np.float32)


@cache
def mel_filters(n_mels: int) -> npt.NDArray[np.float32]:
    """Triangular filters on the Slaney mel scale, each of unit area.

    Returns: float32 (n_mels, 201).
    Source: the Auditory Toolbox scale that librosa.filters.mel uses by default: linear below
        1 kHz (200/3 Hz a mel), logarithmic above (a factor of 6.4 in 27 mels).
    """
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(SAMPLE_RATE / 2), n_mels + 2))
    bins = np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    width = np.diff(edges)
    rising = (bins[None, :] - edges[:-2, None]) / width[:-1, None]
    falling = (edges[2:, None] - bins[None, :]) / width[1:, None]
    area = 2.0 / (edges[2:] - edges[:-2])
    return (np.maximum(0.0, np.minimum(rising, falling)) * area[:, None]).astype(np.float32)


_LINEAR_HZ = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _LINEAR_HZ
    return float(_BREAK_MEL + np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    linear = mel * _LINEAR_HZ
    return np.where(mel < _BREAK_MEL, linear, _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL)))
