"""CTranslate2's binary model file, version 6: named tensors, one after the other.

Knows: the file's layout.
Must not know: what the tensors are for, or who reads them (an encoder of our own, converters).
"""

import struct
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

Tensor: TypeAlias = npt.NDArray[Any]

BINARY_VERSION = 6
DTYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)
"""NumPy's types in the order of CTranslate2's `DataType` (include/ctranslate2/types.h)."""


class ModelFileError(ValueError):
    """The file is not a whole Whisper in CTranslate2's format."""


def read_variables(path: Path) -> dict[str, Tensor]:
    """CTranslate2's variables by name; scalars have shape ().

    Raises:
        ModelFileError: the file has another version, is no Whisper, or is cut short.
    """
    with path.open("rb") as file:
        try:
            version = _number(file, "I")
            if version != BINARY_VERSION:
                raise ModelFileError(f"binary version {version}, not {BINARY_VERSION}")
            if (spec := _string(file)) != "WhisperSpec":
                raise ModelFileError(f"{spec} is no Whisper")
            _number(file, "I")  # revision of the spec
            return dict(_variable(file) for _ in range(_number(file, "I")))
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise ModelFileError("the file is cut short or damaged") from error


def _number(file: BinaryIO, code: str) -> int:
    size = struct.calcsize("<" + code)
    return int(struct.unpack("<" + code, file.read(size))[0])


def _string(file: BinaryIO) -> str:
    return file.read(_number(file, "H")).rstrip(b"\0").decode()


def _variable(file: BinaryIO) -> tuple[str, Tensor]:
    name = _string(file)
    shape = [_number(file, "I") for _ in range(_number(file, "B"))]
    dtype = DTYPES[_number(file, "B")]
    data = file.read(_number(file, "I"))
    try:
        return name, np.frombuffer(data, dtype).reshape(shape)
    except ValueError as error:
        raise ModelFileError("the file is cut short or damaged") from error
