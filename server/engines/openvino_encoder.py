"""Whisper's encoder as an OpenVINO graph, built straight from CTranslate2's model file.

Knows: the encoder's layers, and OpenVINO's calls.
Must not know: decoding, batching. The only file that imports openvino.

It feeds CTranslate2's decoder, whose own int8 encoder is the slow part on a CPU: on two cores
with AMX a 30-s window of Whisper base takes 0.16 s on one thread in bfloat16, CTranslate2 0.71 s,
and the result is closer to float32 (mean difference 0.010 on a range of 24).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13 as ops

from server.engines.line import Line
from server.engines.model_bin import ModelFileError, Tensor, read_variables

Features = npt.NDArray[np.float32]
"""float32 (batch, n_mels, n_frames); n_frames even, at most 3000."""
Windows = npt.NDArray[np.float32]
"""float32 (batch, n_frames / 2, d_model)."""
Node = Any
"""OpenVINO's own; its types are not exact enough to be of use."""


class OpenVINOEncoder:
    """The encoder of one model; thread-safe: windows take turns, each on all its threads."""

    def __init__(self, path: Path, *, threads: int) -> None:
        """Build and compile the graph from `path`/model.bin; takes a fraction of a second.

        Raises:
            ModelFileError: not a Whisper in CTranslate2's format.
        """
        core = ov.Core()
        native = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        precision = "bf16" if "BF16" in native else "f32"
        self.name = f"openvino-{precision}"
        compiled = core.compile_model(
            graph(read_variables(path / "model.bin")),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": precision,
                "INFERENCE_NUM_THREADS": threads,
                # One stream on all threads: as much throughput as several, and less latency.
                "NUM_STREAMS": 1,
                # Pinned threads of two processes meet on the same cores.
                "ENABLE_CPU_PINNING": False,
            },
        )
        self._request = compiled.create_infer_request()
        self._line = Line()

    def encode(self, features: Features) -> Windows:
        """Encoder output of each window of a batch, one after the other.

        A batch gains nothing here: one window fills the cores. Of several threads' windows a
        short one goes first.
        """
        windows = []
        for window in features:
            with self._line.turn(window.shape[1]):
                result = self._request.infer({0: np.ascontiguousarray(window[None])})
                windows.append(np.array(result[0][0]))
        return np.stack(windows)


def graph(variables: Mapping[str, Tensor]) -> ov.Model:
    """Two convolutions, positions, the layers and a last norm (openai/whisper model.py).

    Takes any number of frames up to 3000: a shorter window has the first of the positions.

    Raises:
        ModelFileError: the weights are quantised.
    """
    if any(name.endswith("/weight_scale") for name in variables):
        raise ModelFileError("the weights are quantised; float16 or float32 is needed")
    tower = Tower(variables, "encoder")
    n_mels = variables["encoder/conv1/weight"].shape[1]
    features = ops.parameter([1, n_mels, -1], ov.Type.f32, name="features")
    x = tower.convolution(features, "conv1", stride=1)
    x = tower.convolution(x, "conv2", stride=2)
    x = ops.transpose(x, ints(0, 2, 1))
    positions = tower.constant("position_encodings/encodings")
    length = ops.gather(ops.shape_of(x), ints(1), ops.constant(0))
    x = ops.add(x, ops.slice(positions, ints(0), length, ints(1), ints(0)))
    layer = 0
    while f"encoder/layer_{layer}/ffn/linear_0/weight" in variables:
        x = tower.encoder_layer(x, f"layer_{layer}/")
        layer += 1
    return ov.Model([tower.norm(x, "layer_norm")], [features], "whisper_encoder")


class Tower:
    """A transformer's operations over the variables of one of Whisper's two."""

    def __init__(self, variables: Mapping[str, Tensor], name: str) -> None:
        """`name` is `encoder` or `decoder`."""
        self.variables = variables
        self.heads = int(variables[f"{name}/num_heads"])
        self._name = name

    def constant(self, name: str) -> Node:
        """A variable of this tower."""
        value = self.variables[f"{self._name}/{name}"]
        return ops.constant(np.ascontiguousarray(value, dtype=np.float32))

    def convolution(self, x: Node, name: str, *, stride: int) -> Node:
        """A kernel of three frames, then GELU."""
        y = ops.convolution(x, self.constant(f"{name}/weight"), [stride], [1], [1], [1])
        bias = ops.reshape(self.constant(f"{name}/bias"), ints(1, -1, 1), special_zero=False)
        return ops.gelu(ops.add(y, bias), "erf")

    def linear(self, x: Node, name: str) -> Node:
        """A projection with its bias."""
        y = ops.matmul(x, self.constant(f"{name}/weight"), transpose_a=False, transpose_b=True)
        return ops.add(y, self.constant(f"{name}/bias"))

    def norm(self, x: Node, name: str) -> Node:
        """A layer norm over the last axis."""
        y = ops.mvn(x, ints(-1), normalize_variance=True, eps=1e-5, eps_mode="inside_sqrt")
        y = ops.multiply(y, self.constant(f"{name}/gamma"))
        return ops.add(y, self.constant(f"{name}/beta"))

    def encoder_layer(self, x: Node, name: str) -> Node:
        """Attention over all frames, then two projections."""
        y = self.norm(x, f"{name}self_attention/layer_norm")
        x = ops.add(x, self._attention(y, f"{name}self_attention/"))
        y = self.norm(x, f"{name}ffn/layer_norm")
        y = ops.gelu(self.linear(y, f"{name}ffn/linear_0"), "erf")
        return ops.add(x, self.linear(y, f"{name}ffn/linear_1"))

    def split_heads(self, x: Node) -> Node:
        """(batch, length, width) to (batch, heads, length, width / heads)."""
        x = ops.reshape(x, ints(0, 0, self.heads, -1), special_zero=True)
        return ops.transpose(x, ints(0, 2, 1, 3))

    def join_heads(self, x: Node) -> Node:
        """The way back."""
        x = ops.transpose(x, ints(0, 2, 1, 3))
        return ops.reshape(x, ints(0, 0, -1), special_zero=True)

    def _attention(self, x: Node, name: str) -> Node:
        """Query, key and value come from one fused projection."""
        fused = self.linear(x, f"{name}linear_0")
        parts = (self.split_heads(part) for part in ops.split(fused, ops.constant(2), 3).outputs())
        mixed = ops.scaled_dot_product_attention(*parts)
        return self.linear(self.join_heads(mixed), f"{name}linear_1")


def ints(*values: int) -> Node:
    """Whole numbers as a constant, which many operators want."""
    return ops.constant(np.array(values, dtype=np.int64))
