"""Whisper's weights in whisper.cpp's format, so that it runs on the same ones.

Knows: the ggml file as whisper.cpp's own converter writes it (models/convert-pt-to-ggml.py).
Must not know: who made the weights, or who runs them.
Matrices are float16, bit by bit as they were; vectors and positions are float32.
"""

import json
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from engine_build.ctranslate2_weights import dimensions, read_variables, state_dict
from server.audio.features import mel_filters

MAGIC = 0x67676D6C
FLOAT16 = 1
SINGLE = {"encoder.positional_embedding", "decoder.positional_embedding"}
"""Tensors with more than one dimension that are float32 all the same."""

HEADER = (
    "n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer",
    "n_text_ctx", "n_text_state", "n_text_head", "n_text_layer", "n_mels",
)  # fmt: skip


def convert(model_dir: Path, path: Path) -> None:
    """Write the folder's CTranslate2 model as a ggml file.

    Raises:
        CheckpointError: the folder's model is no whole, unquantised Whisper.
    """
    variables = read_variables(model_dir / "model.bin")
    sizes = dimensions(variables).as_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        _numbers(file, MAGIC, *(sizes[name] for name in HEADER), FLOAT16)
        filters = mel_filters(sizes["n_mels"])
        _numbers(file, *filters.shape)
        file.write(filters.astype("<f4").tobytes())
        tokens = _tokens(model_dir / "tokenizer.json")
        _numbers(file, len(tokens))
        for token in tokens:
            _numbers(file, len(token))
            file.write(token)
        for name, value in state_dict(variables).items():
            _tensor(file, name, value)
    partial.replace(path)


def _numbers(file: BinaryIO, *values: int) -> None:
    file.write(struct.pack(f"<{len(values)}i", *values))


def _tensor(file: BinaryIO, name: str, value: npt.NDArray[Any]) -> None:
    value = value.squeeze()
    if name in {"encoder.conv1.bias", "encoder.conv2.bias"}:
        value = value.reshape(-1, 1)
    single = value.ndim < 2 or name in SINGLE or name.endswith("bias")
    raw = name.encode()
    _numbers(file, value.ndim, len(raw), 0 if single else FLOAT16)
    _numbers(file, *reversed(value.shape))
    file.write(raw)
    file.write(np.ascontiguousarray(value, "<f4" if single else "<f2").tobytes())


def _tokens(path: Path) -> list[bytes]:
    """The text tokens' bytes in the order of their ids; the special ones follow by themselves."""
    vocabulary: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
    byte_of = _byte_of_character()
    ordered = sorted(vocabulary.items(), key=lambda item: item[1])
    return [bytes(byte_of[character] for character in text) for text, _ in ordered if text]


def _byte_of_character() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes, backwards."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    pairs = {chr(byte): byte for byte in plain}
    return pairs | {chr(256 + index): byte for index, byte in enumerate(others)}
