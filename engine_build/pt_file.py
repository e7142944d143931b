"""PyTorch's checkpoint file, read without PyTorch and without running what is in it.

Knows: the zip archive of `torch.save` and the few names that a state dict is pickled with.
Must not know: Whisper. Storages are mapped, not read: a tensor costs memory once it is used.
"""

import io
import pickle
import pickletools
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from engine_build.errors import CheckpointError

MAX_PICKLE_BYTES = 8 << 20
"""The largest official checkpoint has a pickle of some 200 kB: names, shapes, no numbers."""

DTYPES: Mapping[str, "np.dtype[Any]"] = {
    "HalfStorage": np.dtype("<f2"),
    "FloatStorage": np.dtype("<f4"),
}
# fmt: off
OPCODES = frozenset((
    "PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID", "BINPUT", "LONG_BINPUT",
    "BINGET", "LONG_BINGET", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2",
    "LONG1", "BINFLOAT", "BINUNICODE", "EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST",
    "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
))
# fmt: on
"""What `torch.save` pickles a state dict with. Other opcodes can ask for gigabytes at once."""

LOCAL_HEADER = struct.Struct("<4s22xHH")
"""A zip member's own header: its mark, …, lengths of name and extra field (APPNOTE 4.3.7)."""


def load(path: Path) -> Any:  # noqa: ANN401  whatever was saved: plain containers and arrays
    """What `torch.save` wrote: containers, numbers, strings, and tensors as NumPy arrays.

    The arrays are read-only maps of the file: do not change the file while they are used.

    Raises:
        CheckpointError: the file is no such archive, is damaged, or names anything else than the
            few functions that rebuild a tensor. Nothing that the file names is ever imported.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            return _load(archive, file)
    except (zipfile.BadZipFile, pickle.UnpicklingError, struct.error) as error:
        raise CheckpointError(f"{path.name} is no checkpoint of PyTorch: {error}") from error
    # A damaged pickle can raise nearly anything; none of it says more than «damaged».
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, EOFError) as error:
        raise CheckpointError(f"{path.name} is damaged: {error}") from error


def _load(archive: zipfile.ZipFile, file: IO[bytes]) -> Any:  # noqa: ANN401  as `load`
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise zipfile.BadZipFile("it holds no data.pkl")
    root = pickles[0].removesuffix("data.pkl")
    if archive.getinfo(pickles[0]).file_size > MAX_PICKLE_BYTES:
        raise CheckpointError("the pickle is too large to be one of Whisper")
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise CheckpointError("the numbers are not little-endian")
    mapped = np.memmap(file, np.uint8, "r")

    def storage(key: str, dtype: "np.dtype[Any]", numel: int) -> npt.NDArray[Any]:
        member = archive.getinfo(f"{root}data/{key}")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != numel * dtype.itemsize:
            raise ValueError(f"storage {key} is not as long as it says")
        mark, name, extra = LOCAL_HEADER.unpack_from(mapped.data, member.header_offset)
        start = member.header_offset + LOCAL_HEADER.size + name + extra
        if mark != b"PK\x03\x04" or start + member.file_size > len(mapped):
            raise ValueError(f"storage {key} is cut short")
        return mapped[start : start + member.file_size].view(dtype)

    content = archive.read(pickles[0])
    _check_opcodes(content)
    return _Unpickler(io.BytesIO(content), storage).load()


def _check_opcodes(content: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a name with odd escapes is only warned about
        try:
            _check_each(content)
        except DeprecationWarning as error:
            raise pickle.UnpicklingError(str(error)) from error


def _check_each(content: bytes) -> None:
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name not in OPCODES:
            raise pickle.UnpicklingError(f"it holds {opcode.name}, which no checkpoint needs")
        # Python makes room for all places up to the one that is named.
        if opcode.name == "LONG_BINPUT" and int(argument or 0) > len(content):
            raise pickle.UnpicklingError("it names a place that it cannot need")


class _Unpickler(pickle.Unpickler):
    """Knows five names, and finds no other."""

    def __init__(
        self, stream: IO[bytes], storage: Callable[[str, "np.dtype[Any]", int], npt.NDArray[Any]]
    ) -> None:
        super().__init__(stream, encoding="utf-8")
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401  as the base class
        found = _ALLOWED.get((module, name))
        if found is None:
            raise CheckpointError(f"the file asks for {module}.{name}; that is no weight")
        return found

    def persistent_load(self, pid: Any) -> npt.NDArray[Any]:  # noqa: ANN401  as the base class
        kind, storage_type, key, _location, numel = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise ValueError("a storage of an unknown kind")
        return self._storage(str(key), storage_type.dtype, int(numel))


class _StorageType:
    """Stands for `torch.HalfStorage` and its kin. A pickle cannot change it: it has no dict."""

    __slots__ = ("dtype",)
    dtype: "np.dtype[Any]"

    def __init__(self, dtype: "np.dtype[Any]") -> None:
        self.dtype = dtype


class _RebuildTensor:
    """`torch._utils._rebuild_tensor_v2` on arrays: a view of a storage, bounds checked."""

    __slots__ = ()

    def __call__(
        self,
        storage: npt.NDArray[Any],
        offset: int,
        size: Sequence[int],
        stride: Sequence[int],
        *_ignored: object,
    ) -> npt.NDArray[Any]:
        """As torch calls it; what follows the stride concerns gradients."""
        if len(size) != len(stride) or min((offset, *size, *stride), default=0) < 0:
            raise ValueError("a tensor of an impossible shape")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if 0 in size or last >= len(storage):
            raise ValueError("a tensor larger than its storage")
        strides = [step * storage.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(
            storage[offset:], tuple(size), strides, writeable=False
        )


class _RebuildParameter:
    """`torch._utils._rebuild_parameter`: the tensor in it."""

    __slots__ = ()

    def __call__(self, data: npt.NDArray[Any], *_ignored: object) -> npt.NDArray[Any]:
        """As torch calls it."""
        return data


_ALLOWED: Mapping[tuple[str, str], object] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    ("torch._utils", "_rebuild_parameter"): _RebuildParameter(),
    **{("torch", name): _StorageType(dtype) for name, dtype in DTYPES.items()},
}
