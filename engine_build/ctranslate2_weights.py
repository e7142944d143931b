"""CTranslate2's Whisper weights by openai-whisper's names, as the build stage reads them.

Knows: whose readers there are, and the build stage's errors.
Must not know: the file's layout (`server/engines/model_bin.py`), names (`whisper_tensors.py`).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from engine_build.dims import ModelDimensions, Tensor
from engine_build.errors import CheckpointError
from server.engines import model_bin, whisper_tensors

T = TypeVar("T")


def read_variables(path: Path) -> dict[str, Tensor]:
    """CTranslate2's variables by name; scalars have shape ().

    Raises:
        CheckpointError: the file has another version, is no Whisper, or is cut short.
    """
    return _ours(lambda: model_bin.read_variables(path))


def state_dict(variables: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors by openai-whisper's names, query, key and value apart.

    Raises:
        CheckpointError: a tensor is quantised or unknown.
    """
    return _ours(lambda: whisper_tensors.state_dict(variables))


def dimensions(variables: Mapping[str, Tensor]) -> ModelDimensions:
    """The sizes, read off the tensors' shapes.

    Raises:
        CheckpointError: a tensor that tells a size is missing.
    """
    return _ours(lambda: ModelDimensions(**whisper_tensors.sizes(variables)))


def _ours(read: Callable[[], T]) -> T:
    try:
        return read()
    except model_bin.ModelFileError as error:
        raise CheckpointError(str(error)) from error
