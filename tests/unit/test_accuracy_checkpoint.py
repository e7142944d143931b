from pathlib import Path

from ops.accuracy import checkpoint


def test_alignment_heads_come_from_the_configuration(tmp_path: Path) -> None:
    """The pairs are handed on as they stand."""
    (tmp_path / "config.json").write_text('{"alignment_heads": [[3, 1], [5, 6]]}')
    assert checkpoint.alignment_heads(tmp_path) == [(3, 1), (5, 6)]
