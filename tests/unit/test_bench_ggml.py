"""Weights for whisper.cpp: the file's layout, read back number by number."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine_build.ctranslate2_weights import read_variables, state_dict
from ops.bench.ggml import MAGIC, convert


class Reader:
    """Reads what whisper.cpp would read."""

    def __init__(self, path: Path) -> None:
        self._data, self._at = path.read_bytes(), 0

    def numbers(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}i", self.raw(4 * count))

    def raw(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        assert size == len(piece)
        self._at += size
        return piece

    def tensors(self) -> dict[str, Any]:
        found = {}
        while self._at < len(self._data):
            ndim, length, kind = self.numbers(3)
            shape = self.numbers(ndim)[::-1]
            name = self.raw(length).decode()
            dtype = np.dtype("<f2" if kind else "<f4")
            data = self.raw(dtype.itemsize * int(np.prod(shape)))
            found[name] = np.frombuffer(data, dtype).reshape(shape)
        return found


@pytest.mark.model
def test_every_weight_is_there_bit_by_bit(weights_dir: Path, tmp_path: Path) -> None:
    """Sizes, filters, the vocabulary's bytes and all tensors of the real model."""
    convert(weights_dir / "base", path := tmp_path / "base.ggml")
    reader = Reader(path)
    assert (MAGIC,) == reader.numbers(1)
    sizes = (51865, 1500, 512, 8, 6, 448, 512, 8, 6, 80, 1)
    assert sizes == reader.numbers(11)
    assert (80, 201) == reader.numbers(2)
    assert np.frombuffer(reader.raw(80 * 201 * 4), "<f4").max() > 0
    tokens = [reader.raw(*reader.numbers(1)) for _ in range(*reader.numbers(1))]
    vocabulary = json.loads((weights_dir / "base" / "tokenizer.json").read_text())["model"]["vocab"]
    assert len(tokens) >= 50257
    assert b" the" == tokens[vocabulary["\u0120the"]]
    expected = state_dict(read_variables(weights_dir / "base" / "model.bin"))
    found = reader.tensors()
    assert set(expected) == set(found)
    for name, value in expected.items():
        assert np.array_equal(value.squeeze().ravel(), found[name].ravel()), name
