"""Our converted encoders compile for the L40's architecture, ahead of time, without a GPU.

It is TensorRT for RTX, not TensorRT-LLM: what it shows, and what not, is in docs/tensorrt_llm.md.
Run by `./just rtx`; not part of the tests.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorrt_rtx_bindings as trt
from encoder_graph import Encoder

from engine_build import checkpoint
from engine_build.checkpoint import Checkpoint
from engine_build.convert import convert
from engine_build.dims import SIZES, ModelDimensions, expected_shapes

ROWS = 1 << 12


class Log(trt.ILogger):
    """Keeps what TensorRT complains about."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []

    def log(self, severity: Any, message: str) -> None:
        if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
            self.errors.append(message)


def compile_for_l40(folder: Path) -> tuple[bytes | None, list[str]]:
    """A plan for compute capability 8.9, or none and the reasons."""
    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    encoder = Encoder(folder, network)
    encoder.build()
    plan = builder.build_serialized_network(network, config)
    return (None if plan is None else bytes(plan)), log.errors


def large(dims: ModelDimensions) -> Checkpoint:
    """Random weights of that size; TensorRT stores equal ones once, so the encoder's all differ."""
    rng = np.random.default_rng(0)
    few = rng.normal(0, 0.02, ROWS).astype(np.float16)

    def numbers(name: str, shape: tuple[int, ...]) -> Any:
        if name.startswith("decoder"):
            return np.resize(few, shape)
        return (rng.standard_normal(shape, np.float32) * np.float32(0.02)).astype(np.float16)

    tensors = {name: numbers(name, shape) for name, shape in expected_shapes(dims).items()}
    return Checkpoint(dims, tensors, "ab" * 32)


def compiled(folder: Path) -> bytes:
    """The plan; it holds the weights, so it is no smaller than the encoder's tensors are."""
    plan, errors = compile_for_l40(folder)
    assert [] == errors
    assert plan is not None
    assert len(plan) > 0.9 * (folder / "rank0.safetensors").stat().st_size
    return plan


def report(name: str, started: float, plan: bytes) -> None:
    """What a person wants to know."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    line = {
        "encoder": name, "tensorrt_rtx": trt.__version__, "compute_capability": "8.9",
        "seconds": round(time.monotonic() - started, 1), "plan_mb": round(len(plan) / 1e6),
        "peak_memory_gib": round(peak, 1),
    }  # fmt: skip
    sys.__stdout__.write(f"\n{json.dumps(line)}\n")


@pytest.mark.model
def test_the_real_weights_of_base_compile(weights_dir: Path, tmp_path: Path) -> None:
    """All of them."""
    convert(checkpoint.read(weights_dir / "base"), tmp_path)
    started = time.monotonic()
    report("base", started, compiled(tmp_path / "encoder"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("model", ["large-v3"])
def test_the_shapes_of_large_v3_compile(tmp_path: Path, model: str) -> None:
    """Random weights; large-v3-turbo's encoder has the same shapes."""
    assert SIZES["large-v3-turbo"].n_audio_layer == SIZES[model].n_audio_layer
    convert(large(SIZES[model]), tmp_path)
    started = time.monotonic()
    report(model, started, compiled(tmp_path / "encoder"))


@pytest.mark.model
def test_a_wrong_layout_does_not_compile(weights_dir: Path, tmp_path: Path) -> None:
    """Converted as if convolutions ran along the other axis, so that this can fail."""
    convert(checkpoint.read(weights_dir / "base"), tmp_path)
    path = tmp_path / "encoder" / "rank0.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].replace(b"[512,80,3,1]", b"[512,80,1,3]")
    assert header != content[8 : 8 + length]
    path.write_bytes(content[:8] + header + content[8 + length :])
    plan, errors = compile_for_l40(tmp_path / "encoder")
    assert plan is None
    assert errors
