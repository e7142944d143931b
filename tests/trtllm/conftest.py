"""Weights and a machine to build on, without the GPU."""

import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_ctranslate2 import write_tiny

Program = Callable[[str, str], Path]


@pytest.fixture
def tiny_dir(tmp_path: Path) -> Path:
    """A folder with a tiny Whisper in CTranslate2's form."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    return write_tiny(folder)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """`program(name, script)` is the only program of that name on this machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def add(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return add


@pytest.fixture
def trtllm_build(program: Program) -> Callable[[], Path]:
    """Puts a stand-in for trtllm-build on this machine."""
    script = Path(__file__).with_name("trtllm_build_double.py")
    root = script.parents[2]
    return lambda: program(
        "trtllm-build",
        f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" "{script}" "$@"\n',
    )
