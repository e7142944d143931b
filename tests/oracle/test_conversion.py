"""Checkpoint files between us and PyTorch, both ways, with the real weights."""

import dataclasses
from pathlib import Path

import pytest
import torch
from whisper.model import ModelDimensions, Whisper

from engine_build import checkpoint, pt_file
from ops.accuracy import checkpoint as peers


@pytest.fixture(scope="module")
def saved(weights_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CPU engine's weights, as PyTorch saves openai-whisper's checkpoint."""
    path = tmp_path_factory.mktemp("saved") / "folder" / "base.pt"
    peers.convert(weights_dir / "base", path)
    return path


def test_openai_whisper_accepts_every_name(saved: Path) -> None:
    """The checkpoint loads strictly: no tensor missing, none too many, all shapes right."""
    content = torch.load(saved, weights_only=True)
    whisper = Whisper(ModelDimensions(**content["dims"]))
    whisper.load_state_dict(content["model_state_dict"], strict=True)
    assert content["dims"] == dataclasses.asdict(whisper.dims)
    assert [saved] == list(saved.parent.iterdir())


def test_what_pytorch_saved_is_read_without_it(saved: Path, weights_dir: Path) -> None:
    """Bit by bit what PyTorch reads, and what was in CTranslate2's file."""
    theirs = torch.load(saved, weights_only=True)
    ours = checkpoint.read(saved)
    folder = checkpoint.read(weights_dir / "base")
    assert theirs["dims"] == ours.dims.as_dict()
    assert folder.dims == ours.dims
    assert set(theirs["model_state_dict"]) == set(ours.tensors)
    for name, tensor in ours.tensors.items():
        assert theirs["model_state_dict"][name].numpy().tobytes() == tensor.tobytes()
        assert folder.tensors[name].tobytes() == tensor.tobytes()


def test_views_and_parameters_are_read_as_pytorch_means_them(tmp_path: Path) -> None:
    """Transposed, cut out, sharing a storage, of no dimension at all."""
    numbers = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    state = {
        "transposed": numbers.permute(2, 0, 1),
        "cut": numbers[:, 1:, ::2],
        "one": numbers[1, 2, 3],
        "parameter": torch.nn.Parameter(numbers.half()),
    }
    torch.save(state, tmp_path / "x.pt")
    found = pt_file.load(tmp_path / "x.pt")
    for name, tensor in state.items():
        assert tensor.tolist() == found[name].tolist()


def test_damaged_weights_end_the_accuracy_command_with_a_word(tmp_path: Path) -> None:
    """What the reader says of them is a complaint of that command."""
    (tmp_path / "model.bin").write_bytes(b"\6\0\0\0")
    with pytest.raises(peers.CheckpointError, match="cut short"):
        peers.convert(tmp_path, tmp_path / "base.pt")
