import numpy as np
import pytest
import torch
import whisper

from server.audio.features import N_SAMPLES, log_mel, mel_filters
from server.types import Samples

TOLERANCE = 1e-4
"""Features range over about two units; torch transforms in float32 where NumPy has float64."""


@pytest.mark.parametrize("n_mels", [80, 128])
def test_the_filters_are_the_same(n_mels: int) -> None:
    """Ours are computed, openai-whisper's come in a file that librosa made."""
    theirs = whisper.audio.mel_filters("cpu", n_mels).numpy()
    assert np.abs(theirs - mel_filters(n_mels)).max() < 1e-7


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize(
    "n_samples", [0, 1, 159, 160, 161, 400, 16_000, 479_600, 479_601, 479_800, 479_999, N_SAMPLES]
)
def test_speech_of_any_length_gives_the_same_features(
    clips: dict[str, Samples], n_samples: int, n_mels: int
) -> None:
    """Also where the padding begins, at odd lengths, and where the audio fills the window."""
    samples = clips["en-long"][:n_samples]
    assert _distance(samples, n_mels) < TOLERANCE


@pytest.mark.parametrize("amplitude", [0.0, 1e-6, 1e-3, 1.0])
def test_noise_of_any_level_gives_the_same_features(amplitude: float) -> None:
    """The floor is 8 below the maximum, wherever that lies."""
    random = np.random.default_rng(1)
    noise = (amplitude * random.uniform(-1, 1, 100_000)).astype(np.float32)
    assert _distance(noise, 80) < TOLERANCE


def _distance(samples: Samples, n_mels: int) -> float:
    """The largest difference; they are given the audio with its silence up to 30 s."""
    padded = whisper.pad_or_trim(torch.from_numpy(samples))
    theirs = whisper.log_mel_spectrogram(padded, n_mels).numpy()
    ours = log_mel(samples, n_mels)
    assert theirs.shape == ours.shape
    return float(np.abs(theirs - ours).max())
