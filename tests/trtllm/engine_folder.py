"""Folders as `engine_build` leaves them, with a converted checkpoint where the engines would be."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from executor_double import Faults, Watch, make_bindings
from numpy_arrays import NumpyArrays
from random_whisper import random_checkpoint

from engine_build import manifest as manifests
from engine_build.checkpoint import Checkpoint
from engine_build.convert import convert
from engine_build.device import Device
from engine_build.dims import ModelDimensions
from engine_build.gpus import GPUS
from engine_build.plan import Plan
from server.decoding.tokenizer import Tokenizer
from server.engines.in_flight import Aligner, InFlightEngine
from server.engines.manifest import GateResult, Manifest, Running
from server.engines.tensorrt_llm import open_engine

VERSIONS = {"tensorrt_llm": "1.2.1", "tensorrt": "10.14.1.48.post1"}
CARD = Running("NVIDIA L40", "8.9", VERSIONS)
PASSED = GateResult(6, 0.01, 0.01, 0.002, 0.001)

SMALL = ModelDimensions(80, 1500, 16, 1, 1, 51_865, 448, 16, 2, 1)
"""A Whisper of the multilingual vocabulary that a CPU steps in no time."""


def small_checkpoint() -> Checkpoint:
    """Random weights, small enough that no token is certain."""
    checkpoint = random_checkpoint(SMALL, np.float32)
    tensors = {name: value * np.float32(0.2) for name, value in checkpoint.tensors.items()}
    return replace(checkpoint, tensors=tensors)


def make_folder(folder: Path, checkpoint: Checkpoint, *, windows: int = 8) -> Manifest:
    """An engine of these weights in `folder`, as if it had passed the gate on an L40."""
    convert(checkpoint, folder)
    return manifests.write(
        folder,
        Plan("base", GPUS["l40"], checkpoint.dims, windows),
        Device(CARD.gpu_name, CARD.compute_capability, "580.95", 46_068),
        versions=VERSIONS,
        weights_sha256=checkpoint.sha256,
        gate=PASSED,
    )


def open_double(
    folder: Path,
    manifest: Manifest,
    tokenizer: Tokenizer,
    *,
    faults: Faults | None = None,
    watch: Watch | None = None,
    devices: Sequence[int] = (0,),
    aligner: Aligner | None = None,
    window_timeout: float = 60.0,
    wrap: Callable[[Any], Any] = lambda bindings: bindings,
) -> InFlightEngine:
    """The engine on the double."""
    return open_engine(
        "base", folder, manifest, tokenizer, wrap(make_bindings(faults, watch)),
        {device: NumpyArrays() for device in devices},
        aligner=aligner, window_timeout=window_timeout,
    )  # fmt: skip
