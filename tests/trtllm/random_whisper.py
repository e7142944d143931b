"""Whispers of any size with random weights, and the files that PyTorch would keep them in."""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from engine_build.checkpoint import Checkpoint
from engine_build.dims import ModelDimensions, expected_shapes

TINY = ModelDimensions(4, 10, 8, 2, 2, 51_865, 6, 8, 2, 3)


def random_checkpoint(dims: ModelDimensions, dtype: type[np.floating] = np.float16) -> Checkpoint:
    rng = np.random.default_rng(1)
    tensors = {
        name: rng.standard_normal(shape, dtype=np.float32).astype(dtype)
        for name, shape in expected_shapes(dims).items()
    }
    return Checkpoint(dims, tensors, "0" * 64)


@dataclass(frozen=True)
class Name:
    """Pickled as a mere name: whoever loads it has to find what it names."""

    module: str
    name: str


@dataclass(frozen=True)
class Storage:
    """Numbers that lie in a file of their own."""

    key: str
    kind: Name
    numel: int


class TorchPickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes arrays as `torch.save` writes tensors."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def __init__(self, out: io.BytesIO) -> None:
        super().__init__(out, protocol=2)
        self.storages: dict[str, bytes] = {}
        self.kept: list[Any] = []  # an id may not be used twice while we pickle

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, Storage):
            return ("storage", value.kind, value.key, "cpu", value.numel)
        return None

    def save_name(self, value: Name) -> None:
        self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())

    def save_tensor(self, array: np.ndarray) -> None:
        kind = {"float16": "HalfStorage", "float32": "FloatStorage"}.get(str(array.dtype))
        key = str(len(self.storages))
        self.storages[key] = np.ascontiguousarray(array).tobytes()
        storage = Storage(key, Name("torch", kind or "IntStorage"), array.size)
        strides = tuple(step // array.itemsize for step in np.ascontiguousarray(array).strides)
        arguments = (storage, 0, array.shape, strides, False, OrderedDict())
        self.kept.append(arguments)
        self.save_name(Name("torch._utils", "_rebuild_tensor_v2"))
        self.save(arguments)
        self.write(pickle.REDUCE)

    dispatch[Name] = save_name
    dispatch[np.ndarray] = save_tensor


def pickled(content: Any) -> tuple[bytes, dict[str, bytes]]:
    """The pickle, and the bytes of each storage."""
    out = io.BytesIO()
    pickler = TorchPickler(out)
    pickler.dump(content)
    return out.getvalue(), pickler.storages


def write_archive(
    path: Path,
    pickle_bytes: bytes,
    storages: Mapping[str, bytes],
    *,
    compression: int = zipfile.ZIP_STORED,
    byteorder: bytes = b"little",
) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle_bytes)
        archive.writestr("archive/byteorder", byteorder)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def save_pt(path: Path, checkpoint: Checkpoint) -> Path:
    """As openai-whisper publishes its checkpoints."""
    content = {"dims": checkpoint.dims.as_dict(), "model_state_dict": dict(checkpoint.tensors)}
    return write_archive(path, *pickled(content))
