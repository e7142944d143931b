"""Whisper's encoder as a TensorRT network, from a converted TensorRT-LLM checkpoint.

Knows: TensorRT's layers, and the names and layouts that `engine_build.convert` writes.
Must not know: openai-whisper's names. The graph is that of TensorRT-LLM's WhisperEncoder
    (tensorrt_llm/models/enc_dec/model.py), for one unpacked window, in float16 throughout.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt_rtx_bindings as trt

from engine_build import safetensors

FRAMES = 3000
EPSILON = 1e-5
Node = Any


class Encoder:
    """The network; its weights stay mapped for as long as this lives."""

    def __init__(self, folder: Path, network: Any) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        self._tensors = safetensors.read(folder / "rank0.safetensors")
        self._network = network
        self._kept: list[Any] = []

    def build(self) -> None:
        """Add everything from log-mel (1, n_mels, 3000) to encoder output (1, 1500, width)."""
        net, heads = self._network, self.config["num_attention_heads"]
        shape = (1, self.config["n_mels"], FRAMES, 1)
        x = net.add_input("features", trt.float16, shape)
        x = self._convolution(x, "transformer.conv1", stride=1)
        x = self._convolution(x, "transformer.conv2", stride=2)
        width, length = self.config["hidden_size"], self.config["max_position_embeddings"]
        x = self._shuffle(x, (1, width, length), (0, 2, 1))
        x = self._add(
            x, self._constant("transformer.position_embedding.weight", (1, length, width))
        )
        for layer in range(self.config["num_hidden_layers"]):
            name = f"transformer.layers.{layer}"
            y = self._norm(x, f"{name}.attention_layernorm")
            x = self._add(x, self._attention(y, f"{name}.attention", heads, length, width))
            y = self._norm(x, f"{name}.mlp_layernorm")
            y = self._gelu(self._linear(y, f"{name}.mlp.fc"))
            x = self._add(x, self._linear(y, f"{name}.mlp.proj"))
        x = self._norm(x, "transformer.ln_f")
        x.name = "encoded"
        net.mark_output(x)

    def _numbers(self, name: str) -> Any:
        """A tensor as it is in the file: float16, in C order."""
        value = self._tensors[name]
        assert np.float16 == value.dtype
        self._kept.append(value := np.ascontiguousarray(value))
        return value

    def _constant(self, name: str, shape: tuple[int, ...]) -> Node:
        value = self._numbers(name)
        assert value.size == np.prod(shape), (name, value.shape, shape)
        return self._network.add_constant(shape, trt.Weights(value)).get_output(0)

    def _convolution(self, x: Node, name: str, *, stride: int) -> Node:
        weight, bias = self._numbers(f"{name}.weight"), self._numbers(f"{name}.bias")
        layer = self._network.add_convolution_nd(
            x, weight.shape[0], weight.shape[2:], trt.Weights(weight), trt.Weights(bias)
        )
        layer.stride_nd, layer.padding_nd = (stride, 1), (1, 0)
        return self._gelu(layer.get_output(0))

    def _linear(self, x: Node, name: str) -> Node:
        out, into = self._tensors[f"{name}.weight"].shape
        weight = self._constant(f"{name}.weight", (1, out, into))
        none, transposed = trt.MatrixOperation.NONE, trt.MatrixOperation.TRANSPOSE
        y = self._network.add_matrix_multiply(x, none, weight, transposed).get_output(0)
        return self._add(y, self._constant(f"{name}.bias", (1, 1, out)))

    def _norm(self, x: Node, name: str) -> Node:
        width = self.config["hidden_size"]
        scale, bias = (self._constant(f"{name}.{w}", (1, 1, width)) for w in ("weight", "bias"))
        layer = self._network.add_normalization(x, scale, bias, 1 << 2)
        layer.epsilon = EPSILON
        return layer.get_output(0)

    def _attention(self, x: Node, name: str, heads: int, length: int, width: int) -> Node:
        fused = self._linear(x, f"{name}.qkv")
        size = width // heads
        query, key, value = (
            self._shuffle(
                self._part(fused, index, length, width), (1, length, heads, size), (0, 2, 1, 3)
            )
            for index in range(3)
        )
        none, transposed = trt.MatrixOperation.NONE, trt.MatrixOperation.TRANSPOSE
        net = self._network
        scale = np.full((1, 1, 1, 1), size**-0.5, np.float16)
        self._kept.append(scale)
        scale = net.add_constant(scale.shape, trt.Weights(scale)).get_output(0)
        query = net.add_elementwise(query, scale, trt.ElementWiseOperation.PROD).get_output(0)
        scores = net.add_matrix_multiply(query, none, key, transposed).get_output(0)
        softmax = net.add_softmax(scores)
        softmax.axes = 1 << 3
        mixed = net.add_matrix_multiply(softmax.get_output(0), none, value, none).get_output(0)
        layer = net.add_shuffle(mixed)
        layer.first_transpose, layer.reshape_dims = (0, 2, 1, 3), (1, length, width)
        return self._linear(layer.get_output(0), f"{name}.dense")

    def _part(self, fused: Node, index: int, length: int, width: int) -> Node:
        shape = (1, length, width)
        layer = self._network.add_slice(fused, (0, 0, index * width), shape, (1, 1, 1))
        return layer.get_output(0)

    def _shuffle(self, x: Node, shape: tuple[int, ...], order: tuple[int, ...]) -> Node:
        layer = self._network.add_shuffle(x)
        layer.reshape_dims, layer.second_transpose = shape, order
        return layer.get_output(0)

    def _gelu(self, x: Node) -> Node:
        return self._network.add_activation(x, trt.ActivationType.GELU_TANH).get_output(0)

    def _add(self, x: Node, y: Node) -> Node:
        return self._network.add_elementwise(x, y, trt.ElementWiseOperation.SUM).get_output(0)
