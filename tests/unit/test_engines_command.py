"""`ops engines`: what it refuses before it begins."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from ops.engines.command import engines


def test_a_gpu_engine_is_refused_before_weights_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, exit code 1, and nothing on disk."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setenv("SUSSURRO_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("SUSSURRO_ENGINES_DIR", str(tmp_path / "engines"))
    done = CliRunner().invoke(engines, ["rebuild", "large-v3", "--engine", "tensorrt_llm"])

    assert 1 == done.exit_code
    assert "Error: this machine has no NVIDIA driver (no nvidia-smi)\n" == done.output
    assert [] == list(tmp_path.iterdir())
