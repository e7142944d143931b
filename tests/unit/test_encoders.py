import time
from pathlib import Path

import ctranslate2
import numpy as np
import pytest

from server.engines import encoders
from server.engines.encoders import Choice, choose
from server.errors import EngineError

RANDOM = np.random.default_rng(5)


class Encoder:
    """Takes a set time; its output is its input's mean, or noise."""

    def __init__(self, name: str, seconds: float, *, wrong: bool = False) -> None:
        self.name = name
        self._seconds = seconds
        self._wrong = wrong

    def encode(self, features: np.ndarray) -> np.ndarray:
        time.sleep(self._seconds)
        if self._wrong:
            return RANDOM.normal(size=(len(features), 1500, 8)).astype(np.float32)
        return features.reshape(len(features), 1500, -1)[:, :, :8]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (Encoder("other", 0.0), "other"),
        (Encoder("other", 0.1), "own"),
        (Encoder("other", 0.0, wrong=True), "own"),
    ],
)
def test_the_faster_one_is_taken_if_it_gives_the_same(other: Encoder, expected: str) -> None:
    """Speed is worth nothing where the result differs."""
    assert expected == encoders._faster(Encoder("own", 0.03), other, 80).name


def test_without_weights_for_it_the_own_encoder_stays(tmp_path: Path) -> None:
    """A model file that OpenVINO's graph cannot be built from is no fault, unless asked for."""
    (tmp_path / "model.bin").write_bytes(b"\x03\0\0\0")
    own = Encoder("own", 0.0)
    choices: tuple[Choice, ...] = ("auto", "ctranslate2")
    for choice in choices:
        assert own is choose(choice, own, tmp_path, threads=1, n_mels=80)
    with pytest.raises(EngineError):
        choose("openvino", own, tmp_path, threads=1, n_mels=80)


@pytest.mark.model
def test_openvinos_encoder_is_whispers(weights_dir: Path) -> None:
    """Its output is CTranslate2 float32's, up to bfloat16's rounding, alone and in a batch."""
    pytest.importorskip("openvino", reason="has no wheel for this processor")
    from server.engines.openvino_encoder import OpenVINOEncoder  # noqa: PLC0415 - as above

    features = RANDOM.normal(0, 0.3, (2, 80, 3000)).astype(np.float32)
    whisper = ctranslate2.models.Whisper(str(weights_dir / "base"), compute_type="float32")
    view = ctranslate2.StorageView.from_array(features)
    expected = np.array(whisper.encode(view, to_cpu=True))
    found = OpenVINOEncoder(weights_dir / "base", threads=2).encode(features)
    assert (expected.shape, np.float32) == (found.shape, found.dtype)
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.99
    assert np.abs(expected - found).mean() < 0.05
