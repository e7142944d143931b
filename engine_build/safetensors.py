"""The safetensors format: a JSON header and the tensors' bytes, written piece by piece.

Knows: the format (huggingface/safetensors, «Format»): 8 bytes of header length, the header, data.
Must not know: what the tensors are for. No package is needed for these few lines.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine_build.dims import Tensor
from engine_build.errors import CheckpointError

Pieces = Sequence[Tensor]
"""Tensors to be joined along their first axis; in C order their bytes simply follow one another,
so that no joined copy is ever in memory."""

DTYPES: Mapping[str, "np.dtype[Any]"] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}


def write(path: Path, tensors: Mapping[str, Pieces], dtype: str) -> None:
    """Write tensors as `dtype` (`F16` or `F32`), in their order.

    Raises:
        CheckpointError: a number is not finite, or becomes infinite as float16.
    """
    header: dict[str, object] = {}
    begin = 0
    for name, pieces in tensors.items():
        shape = [sum(piece.shape[0] for piece in pieces), *pieces[0].shape[1:]]
        end = begin + DTYPES[dtype].itemsize * int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data starts at a multiple of 8
    with path.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name, pieces in tensors.items():
            for piece in pieces:
                out.write(_numbers(name, piece, DTYPES[dtype]).data)
        out.flush()
        os.fsync(out.fileno())


def _numbers(name: str, piece: Tensor, dtype: "np.dtype[Any]") -> Tensor:
    with np.errstate(over="ignore"):  # reported below, with the tensor's name
        numbers = np.ascontiguousarray(piece, dtype=dtype)
    if not np.isfinite(numbers).all():
        raise CheckpointError(f"{name} holds a number that {dtype} cannot")
    return numbers


def read(path: Path) -> dict[str, Tensor]:
    """The tensors by name, as read-only maps of the file.

    Raises:
        CheckpointError: the file is cut short, or is no safetensors of these two types.
    """
    mapped = np.memmap(path, np.uint8, "r")
    length = int.from_bytes(mapped[:8].tobytes(), "little")
    data = mapped[8 + length :]
    try:
        header = json.loads(mapped[8 : 8 + length].tobytes())
        found = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            found[name] = data[begin:end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path.name} is no safetensors file, or is cut short") from error
    return found
