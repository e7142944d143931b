"""One Whisper's weights from whichever file they are in, whole and checked.

Knows: openai-whisper's `.pt` and CTranslate2's folder.
Must not know: where the file came from, or what becomes of the weights.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine_build import ctranslate2_weights, pt_file
from engine_build.dims import ModelDimensions, Tensor, check_tensors
from engine_build.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tensors by openai-whisper's names; `sha256` is that of the file they came from."""

    dims: ModelDimensions
    tensors: Mapping[str, Tensor]
    sha256: str


def weights_file(path: Path) -> Path:
    """The file that holds the numbers: the `.pt` itself, or the folder's `model.bin`."""
    return path / "model.bin" if path.is_dir() else path


def sha256_of(path: Path) -> str:
    """Of the whole file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path) -> Checkpoint:
    """The weights in a `.pt` file or a CTranslate2 folder.

    The tensors may be maps of the file: do not change it while they are used.

    Raises:
        CheckpointError: they are not a whole, unquantised Whisper.
    """
    file = weights_file(path)
    if not file.is_file():
        raise CheckpointError(f"{path} holds no weights")
    dims, tensors = _read_ctranslate2(file) if path.is_dir() else _read_pt(file)
    check_tensors(dims, tensors)
    return Checkpoint(dims, tensors, sha256_of(file))


def _read_ctranslate2(file: Path) -> tuple[ModelDimensions, dict[str, Tensor]]:
    variables = ctranslate2_weights.read_variables(file)
    return ctranslate2_weights.dimensions(variables), ctranslate2_weights.state_dict(variables)


def _read_pt(file: Path) -> tuple[ModelDimensions, dict[str, Tensor]]:
    content = pt_file.load(file)
    try:
        dims, state = content["dims"], content["model_state_dict"]
        return ModelDimensions.of(dims), dict(state)
    except (TypeError, KeyError, ValueError) as error:
        raise CheckpointError(f"{file.name} is no checkpoint of openai-whisper") from error
