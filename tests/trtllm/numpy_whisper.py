"""A Whisper in NumPy that follows TensorRT-LLM's graph, run from a converted checkpoint.

Knows: tensor names, layouts and operations of TensorRT-LLM 1.2.1's WhisperEncoder and DecoderModel.
Must not know: openai-whisper's names, CTranslate2.
Source: tensorrt_llm/models/enc_dec/model.py; `gelu` of tensorrt_llm/functional.py is the tanh form.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine_build import safetensors

Tensor = npt.NDArray[np.float32]
EPSILON = 1e-5


@dataclass
class Part:
    """One checkpoint folder: configuration and float32 tensors."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @classmethod
    def load(cls, folder: Path) -> "Part":
        config = json.loads((folder / "config.json").read_text())
        stored = safetensors.read(folder / "rank0.safetensors")
        return cls(config, {name: value.astype(np.float32) for name, value in stored.items()})

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON)
        return scaled * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]

    @property
    def heads(self) -> int:
        return int(self.config["num_attention_heads"])


def gelu_tanh(x: Tensor) -> Tensor:
    """TensorRT-LLM's approximation."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + np.float32(0.044715) * x * x * x)))


def gelu_exact(x: Tensor) -> Tensor:
    """Whisper's own; the error function as Abramowitz and Stegun have it (7.1.26)."""
    z = np.abs(x) / np.float32(math.sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    terms = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
    polynomial = sum(np.float32(term) * t ** (power + 1) for power, term in enumerate(terms))
    erf = np.sign(x) * (1 - polynomial * np.exp(-(z**2)))
    return 0.5 * x * (1 + erf)


def split(x: Tensor, heads: int) -> Tensor:
    """(n, width) → (heads, n, width / heads)."""
    return np.ascontiguousarray(x.reshape(len(x), heads, -1).swapaxes(0, 1))


def attend(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> Tensor:
    """Softmax attention of split queries, keys and values → (queries, width)."""
    scores = q @ k.swapaxes(1, 2)
    scores *= np.float32(1 / math.sqrt(q.shape[2]))
    if causal:
        ahead = np.triu(np.ones(scores.shape[1:], bool), 1 + scores.shape[2] - scores.shape[1])
        scores[:, ahead] = -np.inf
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(-1, keepdims=True)
    return (scores @ v).swapaxes(0, 1).reshape(q.shape[1], -1)


@dataclass
class Cache:
    """One sequence's split keys and values: cross ones fixed, own ones growing."""

    cross: list[tuple[Tensor, Tensor]]
    own: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    length: int = 0


class NumpyWhisper:
    """Encoder and decoder of one converted checkpoint."""

    def __init__(self, folder: Path, *, exact_gelu: bool = False) -> None:
        self.encoder = Part.load(folder / "encoder")
        self.decoder = Part.load(folder / "decoder")
        self._gelu = gelu_exact if exact_gelu else gelu_tanh

    def encode(self, windows: Sequence[Tensor]) -> list[Tensor]:
        """Packed as TensorRT-LLM packs: float32 (frames, n_mels) each → (frames / 2, width) each.

        The convolutions run over all frames as one, so windows that are not alone touch.
        """
        part = self.encoder
        x = np.concatenate(windows).T
        for conv, stride in (("conv1", 1), ("conv2", 2)):
            x = self._gelu(self._convolve(conv, x, stride))
        lengths = [len(window) // 2 for window in windows]
        positions = np.concatenate([np.arange(length) for length in lengths])
        x = x.T + part.tensors["transformer.position_embedding.weight"][positions]
        splits = np.cumsum(lengths)[:-1]
        for layer in range(part.config["num_hidden_layers"]):
            name = f"transformer.layers.{layer}"
            qkv = part.linear(f"{name}.attention.qkv", part.norm(f"{name}.attention_layernorm", x))
            apart = [
                attend(*(split(x, part.heads) for x in np.split(one, 3, axis=1)))
                for one in np.split(qkv, splits)
            ]
            x = x + part.linear(f"{name}.attention.dense", np.concatenate(apart))
            x = x + self._mlp(part, name, x)
        return np.split(part.norm("transformer.ln_f", x), splits)

    def _convolve(self, name: str, x: Tensor, stride: int) -> Tensor:
        """Kernel 3, padding 1, over (channels, frames); the weight is (out, in, 3, 1)."""
        weight = self.encoder.tensors[f"transformer.{name}.weight"][..., 0]
        padded = np.pad(x, ((0, 0), (1, 1)))
        frames = range(0, x.shape[1], stride)
        out: Tensor = sum(
            weight[:, :, tap] @ padded[:, tap : tap + x.shape[1] : stride][:, : len(frames)]
            for tap in range(3)
        )
        return out + self.encoder.tensors[f"transformer.{name}.bias"][:, None]

    def _mlp(self, part: Part, name: str, x: Tensor) -> Tensor:
        hidden = part.linear(f"{name}.mlp.fc", part.norm(f"{name}.mlp_layernorm", x))
        return part.linear(f"{name}.mlp.proj", self._gelu(hidden))

    def start(self, encoded: Tensor) -> Cache:
        """Cross keys and values of one window, for all layers."""
        cross = []
        for layer in range(self.decoder.config["num_hidden_layers"]):
            qkv = self.decoder.linear(f"transformer.layers.{layer}.cross_attention.qkv", encoded)
            _, k, v = np.split(qkv, 3, axis=1)
            cross.append((split(k, self.decoder.heads), split(v, self.decoder.heads)))
        return Cache(cross)

    def step(self, tokens: Sequence[int], cache: Cache) -> Tensor:
        """Logits (len(tokens), vocabulary) after tokens that follow those in the cache."""
        return self.head(self.hidden([tokens], [cache]))

    def next_logits(self, tokens: Sequence[Sequence[int]], caches: Sequence[Cache]) -> Tensor:
        """Logits (sequences, vocabulary) after the last token of each, all in one packed step."""
        lasts = np.cumsum([len(each) for each in tokens]) - 1
        return self.head(self.hidden(tokens, caches)[lasts])

    def head(self, hidden: Tensor) -> Tensor:
        """Logits of packed rows."""
        return hidden @ self.decoder.tensors["lm_head.weight"].T

    def hidden(
        self,
        tokens: Sequence[Sequence[int]],
        caches: Sequence[Cache],
        scores: dict[int, Tensor] | None = None,
    ) -> Tensor:
        """Rows before the head, packed; attention keeps the sequences apart.

        `scores` gets each layer's cross-attention of the only sequence before its softmax,
        (heads, tokens, frames).
        """
        part = self.decoder
        x = part.tensors["transformer.vocab_embedding.weight"][[t for each in tokens for t in each]]
        positions = [
            cache.length + index
            for each, cache in zip(tokens, caches, strict=True)
            for index in range(len(each))
        ]
        x = x + part.tensors["transformer.position_embedding.weight"][positions]
        splits = np.cumsum([len(each) for each in tokens])[:-1]
        for layer in range(part.config["num_hidden_layers"]):
            name = f"transformer.layers.{layer}"
            x = x + self._self_attention(layer, name, x, caches, splits)
            normed = part.norm(f"{name}.cross_attention_layernorm", x)
            q = self._query(f"{name}.cross_attention.qkv", normed)
            crossed = [
                attend(split(rows, part.heads), *cache.cross[layer])
                for rows, cache in zip(np.split(q, splits), caches, strict=True)
            ]
            if scores is not None:
                rows, keys = split(q, part.heads), caches[0].cross[layer][0]
                scores[layer] = rows @ keys.swapaxes(1, 2) / math.sqrt(rows.shape[2])
            x = x + part.linear(f"{name}.cross_attention.dense", np.concatenate(crossed))
            x = x + self._mlp(part, name, x)
        for each, cache in zip(tokens, caches, strict=True):
            cache.length += len(each)
        return part.norm("transformer.ln_f", x)

    def _query(self, name: str, x: Tensor) -> Tensor:
        """The first third of a fused projection: a step needs no new cross keys and values."""
        weight, bias = self.decoder.tensors[f"{name}.weight"], self.decoder.tensors[f"{name}.bias"]
        return x @ weight[: x.shape[1]].T + bias[: x.shape[1]]

    def _self_attention(
        self, layer: int, name: str, x: Tensor, caches: Sequence[Cache], splits: Any
    ) -> Tensor:
        part = self.decoder
        normed = part.norm(f"{name}.self_attention_layernorm", x)
        qkv = part.linear(f"{name}.self_attention.qkv", normed)
        attended = []
        for rows, cache in zip(np.split(qkv, splits), caches, strict=True):
            q, k, v = (split(each, part.heads) for each in np.split(rows, 3, axis=1))
            if layer < len(cache.own):
                before = cache.own[layer]
                k, v = (np.concatenate(pair, 1) for pair in zip(before, (k, v), strict=True))
                cache.own[layer] = (k, v)
            else:
                cache.own.append((k, v))
            attended.append(attend(q, k, v, causal=True))
        return part.linear(f"{name}.self_attention.dense", np.concatenate(attended))
