import hashlib
from pathlib import Path

import numpy as np
import pytest
from random_whisper import TINY, pickled, random_checkpoint, save_pt, write_archive

from engine_build import checkpoint
from engine_build.errors import CheckpointError


def test_a_pt_file_is_read_with_its_hash(tmp_path: Path) -> None:
    """Dimensions, tensors, and what the file was."""
    written = random_checkpoint(TINY)
    path = save_pt(tmp_path / "tiny.pt", written)
    found = checkpoint.read(path)
    assert TINY == found.dims
    assert hashlib.sha256(path.read_bytes()).hexdigest() == found.sha256
    assert all(np.array_equal(written.tensors[name], found.tensors[name]) for name in found.tensors)


def test_a_folder_of_ctranslate2_is_read_with_its_hash(tiny_dir: Path) -> None:
    """The hash is that of the file with the numbers."""
    found = checkpoint.read(tiny_dir)
    digest = hashlib.sha256((tiny_dir / "model.bin").read_bytes()).hexdigest()
    assert (digest, 20) == (found.sha256, found.dims.n_vocab)


def test_what_is_no_whisper_is_refused(tmp_path: Path) -> None:
    """Nothing there, another model, half a model."""
    with pytest.raises(CheckpointError, match="holds no weights"):
        checkpoint.read(tmp_path / "nowhere.pt")
    with pytest.raises(CheckpointError, match="holds no weights"):
        checkpoint.read(tmp_path)
    path = write_archive(tmp_path / "other.pt", *pickled({"weights": {}}))
    with pytest.raises(CheckpointError, match="no checkpoint of openai-whisper"):
        checkpoint.read(path)
    path = write_archive(
        tmp_path / "half.pt", *pickled({"dims": TINY.as_dict(), "model_state_dict": {}})
    )
    with pytest.raises(CheckpointError, match="tensors missing"):
        checkpoint.read(path)
