"""Which encoder feeds CTranslate2's decoder: its own, or OpenVINO's where that is faster here.

Knows: both, and how to tell by trying.
Must not know: decoding, batching.
"""

import time
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from server.engines.model_bin import ModelFileError
from server.errors import EngineError

Choice = Literal["auto", "ctranslate2", "openvino"]

Features = npt.NDArray[np.float32]
"""float32 (batch, n_mels, n_frames); n_frames even, at most 3000."""
Windows = npt.NDArray[np.float32]
"""float32 (batch, n_frames / 2, d_model)."""

SAME = 0.95
"""Least correlation of two encoders' outputs: int8 and bfloat16 round differently, no more."""


class Encoder(Protocol):
    """Log-mel windows in, encoder output out; blocks; thread-safe."""

    @property
    def name(self) -> str:
        """For logs: what it is, and in which precision."""
        ...

    def encode(self, features: Features) -> Windows:
        """A batch of windows."""
        ...


def choose(choice: Choice, own: Encoder, path: Path, *, threads: int, n_mels: int) -> Encoder:
    """The encoder that was asked for; with `auto`, the faster one on this machine.

    Args:
        choice: the setting.
        own: CTranslate2's.
        path: the model's folder.
        threads: how many OpenVINO's may use.
        n_mels: the features' height.

    Raises:
        EngineError: `openvino` was asked for and cannot be had.
    """
    if choice == "ctranslate2":
        return own
    try:
        from server.engines.openvino_encoder import (  # noqa: PLC0415 - only where it is installed
            OpenVINOEncoder,
        )

        other = OpenVINOEncoder(path, threads=threads)
    except (ImportError, RuntimeError, ModelFileError) as error:
        if choice == "openvino":
            raise EngineError("OpenVINO's encoder cannot be had for this model here.") from error
        return own
    if choice == "openvino":
        return other
    return _faster(own, other, n_mels)


def _faster(own: Encoder, other: Encoder, n_mels: int) -> Encoder:
    """Try both on one window of noise; a result that differs is worth no speed."""
    noise = np.random.default_rng(0).normal(0, 0.3, (1, n_mels, 3000)).astype(np.float32)
    other.encode(noise)  # kernels are made at the first run
    started = time.monotonic()
    result = other.encode(noise)
    other_s = time.monotonic() - started
    started = time.monotonic()
    expected = own.encode(noise)
    own_s = time.monotonic() - started
    same = np.corrcoef(result.ravel(), expected.ravel())[0, 1] > SAME
    return other if same and other_s < own_s else own
