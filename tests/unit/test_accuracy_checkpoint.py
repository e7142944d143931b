from pathlib import Path

import pytest

from ops.accuracy import checkpoint


def test_alignment_heads_come_from_the_configuration(tmp_path: Path) -> None:
    """The pairs are handed on as they stand."""
    (tmp_path / "config.json").write_text('{"alignment_heads": [[3, 1], [5, 6]]}')
    assert checkpoint.alignment_heads(tmp_path) == [(3, 1), (5, 6)]


def test_damaged_weights_end_the_command_with_a_word(tmp_path: Path) -> None:
    """What the reader says of them is a complaint of the accuracy command."""
    pytest.importorskip("torch")
    (tmp_path / "model.bin").write_bytes(b"\6\0\0\0")
    with pytest.raises(checkpoint.CheckpointError, match="cut short"):
        checkpoint.convert(tmp_path, tmp_path / "base.pt")
