"""The sizes of a Whisper, and the tensors that such a Whisper has.

Knows: openai-whisper's dimensions and state dict (openai/whisper model.py).
Must not know: files, or what becomes of the tensors.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from engine_build.errors import CheckpointError

Tensor: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]

MULTILINGUAL_VOCAB = 51_865
"""Tokens of the smallest multilingual vocabulary; large-v3 added one language."""


@dataclass(frozen=True, slots=True)
class ModelDimensions:
    """openai-whisper's `ModelDimensions`, in its order."""

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int

    @classmethod
    def of(cls, values: Mapping[str, object]) -> "ModelDimensions":
        """From a checkpoint's `dims`.

        Raises:
            CheckpointError: a size is missing, unknown or no positive number.
        """
        names = [field.name for field in fields(cls)]
        if set(values) != set(names):
            odd = ", ".join(sorted(set(values) ^ set(names)))
            raise CheckpointError(f"the dimensions are not Whisper's: {odd}")
        sizes = [values[name] for name in names]
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise CheckpointError("the dimensions are not all positive numbers")
        return cls(**{name: int(str(values[name])) for name in names})

    def as_dict(self) -> dict[str, int]:
        """The sizes by name."""
        return asdict(self)

    @property
    def is_multilingual(self) -> bool:
        """Whether the vocabulary has languages."""
        return self.n_vocab >= MULTILINGUAL_VOCAB

    @property
    def num_languages(self) -> int:
        """Languages in the vocabulary (openai/whisper model.py)."""
        return self.n_vocab - 51_765 - int(self.is_multilingual)


SIZES: Mapping[str, ModelDimensions] = {
    "tiny": ModelDimensions(80, 1500, 384, 6, 4, 51865, 448, 384, 6, 4),
    "base": ModelDimensions(80, 1500, 512, 8, 6, 51865, 448, 512, 8, 6),
    "small": ModelDimensions(80, 1500, 768, 12, 12, 51865, 448, 768, 12, 12),
    "medium": ModelDimensions(80, 1500, 1024, 16, 24, 51865, 448, 1024, 16, 24),
    "large-v2": ModelDimensions(80, 1500, 1280, 20, 32, 51865, 448, 1280, 20, 32),
    "large-v3": ModelDimensions(128, 1500, 1280, 20, 32, 51866, 448, 1280, 20, 32),
    "large-v3-turbo": ModelDimensions(128, 1500, 1280, 20, 32, 51866, 448, 1280, 20, 4),
}
"""The official multilingual models, so that a plan can be made before the weights are here."""


def expected_shapes(dims: ModelDimensions) -> dict[str, Shape]:
    """Every tensor of openai-whisper's state dict, by name, with its shape."""
    audio, text = dims.n_audio_state, dims.n_text_state
    shapes: dict[str, Shape] = {
        "encoder.conv1.weight": (audio, dims.n_mels, 3),
        "encoder.conv1.bias": (audio,),
        "encoder.conv2.weight": (audio, audio, 3),
        "encoder.conv2.bias": (audio,),
        "encoder.positional_embedding": (dims.n_audio_ctx, audio),
        "encoder.ln_post.weight": (audio,),
        "encoder.ln_post.bias": (audio,),
        "decoder.token_embedding.weight": (dims.n_vocab, text),
        "decoder.positional_embedding": (dims.n_text_ctx, text),
        "decoder.ln.weight": (text,),
        "decoder.ln.bias": (text,),
    }
    for layer in range(dims.n_audio_layer):
        shapes.update(_block(f"encoder.blocks.{layer}", audio, ("attn",)))
    for layer in range(dims.n_text_layer):
        shapes.update(_block(f"decoder.blocks.{layer}", text, ("attn", "cross_attn")))
    return shapes


def _block(prefix: str, width: int, attentions: tuple[str, ...]) -> Iterator[tuple[str, Shape]]:
    for name in attentions:
        for part in ("query", "key", "value", "out"):
            yield f"{prefix}.{name}.{part}.weight", (width, width)
            if part != "key":  # Whisper's keys have no bias
                yield f"{prefix}.{name}.{part}.bias", (width,)
        yield f"{prefix}.{name}_ln.weight", (width,)
        yield f"{prefix}.{name}_ln.bias", (width,)
    yield f"{prefix}.mlp.0.weight", (4 * width, width)
    yield f"{prefix}.mlp.0.bias", (4 * width,)
    yield f"{prefix}.mlp.2.weight", (width, 4 * width)
    yield f"{prefix}.mlp.2.bias", (width,)
    yield f"{prefix}.mlp_ln.weight", (width,)
    yield f"{prefix}.mlp_ln.bias", (width,)


def check_tensors(dims: ModelDimensions, tensors: Mapping[str, Tensor]) -> None:
    """That all tensors of such a Whisper are there, and no others.

    Raises:
        CheckpointError: one is missing, too many, misshapen or no float16 or float32.
    """
    expected = expected_shapes(dims)
    if odd := sorted(set(expected) ^ set(tensors)):
        what = "missing" if odd[0] in expected else "unknown"
        raise CheckpointError(f"{len(odd)} tensors missing or unknown, first {odd[0]} ({what})")
    for name, shape in expected.items():
        tensor = tensors[name]
        if tensor.shape != shape:
            raise CheckpointError(f"{name} is {tensor.shape}, not {shape}")
        if tensor.dtype not in (np.float16, np.float32):
            raise CheckpointError(f"{name} is {tensor.dtype}; float16 or float32 is needed")
