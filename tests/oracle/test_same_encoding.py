"""The encoders that may feed our decoder against openai-whisper's, in its own units.

A window of Whisper base ranges over about 42. In float32 the largest difference measured was
0.0009; bfloat16 and int8 round, and their outliers are large, so that they are held by correlation
(measured: 0.9998 and 0.9978).
"""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import ctranslate2
import numpy as np
import pytest

from server.engines.encoders import Windows
from server.types import LogMel

Encode = Callable[[LogMel], Windows]


def _ctranslate2(weights: Path, compute_type: str) -> Encode:
    # More threads than there are cores would slow torch down for the rest of the run.
    model = ctranslate2.models.Whisper(
        str(weights), device="cpu", compute_type=compute_type, intra_threads=1
    )

    def encode(features: LogMel) -> Windows:
        view = ctranslate2.StorageView.from_array(features[None])
        return np.array(model.encode(view, to_cpu=True))[0]

    return encode


def _openvino(weights: Path, precision: str) -> Encode:
    """The graph in float32; else as it is served, in bfloat16 where the processor has it."""
    from server.engines import openvino_encoder  # noqa: PLC0415 - not on every processor

    if precision != "f32":
        encoder = openvino_encoder.OpenVINOEncoder(weights, threads=1)
        return lambda features: encoder.encode(features[None])[0]
    graph = openvino_encoder.graph(openvino_encoder.read_variables(weights / "model.bin"))
    core = openvino_encoder.ov.Core()
    compiled = core.compile_model(
        graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    )
    return lambda features: np.array(compiled({0: features[None]})[0])[0]


ENCODERS = {"ctranslate2": (_ctranslate2, "float32", "int8")}
if find_spec("openvino"):  # requirements/cpu.in says where it is installed
    ENCODERS["openvino"] = (_openvino, "f32", "native")


@pytest.mark.parametrize("encoder", ENCODERS)
def test_encoders_compute_the_same(
    weights_dir: Path,
    encode: Callable[[str], Windows],
    windows: Mapping[str, LogMel],
    encoder: str,
) -> None:
    """Layer by layer the same network: in float32 only sums are in another order."""
    load, exact, _ = ENCODERS[encoder]
    ours = load(weights_dir / "base", exact)
    for name in ("en-river", "noise"):
        assert np.abs(ours(windows[name]) - np.asarray(encode(name))).max() < 0.005


@pytest.mark.parametrize("encoder", ENCODERS)
def test_encoders_as_served_round_a_little(
    weights_dir: Path,
    encode: Callable[[str], Windows],
    windows: Mapping[str, LogMel],
    encoder: str,
) -> None:
    """In the precision that a default server has."""
    load, _, served = ENCODERS[encoder]
    ours = load(weights_dir / "base", served)
    for name in ("en-river", "pt-chuva"):
        pair = np.ravel(ours(windows[name])), np.ravel(np.asarray(encode(name)))
        assert np.corrcoef(*pair)[0, 1] > 0.995
