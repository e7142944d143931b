"""The shape of the source: import contracts, names, one reader of the environment."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path for top in ("server", "engine_build", "ops") for path in (ROOT / top).rglob("*.py")
)
VAGUE = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}
RUN_CONTRACTS = "from importlinter.cli import lint_imports_command as run; run()"


def contracts(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on a tree."""
    return subprocess.run(
        [sys.executable, "-c", RUN_CONTRACTS, "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_keep_the_contracts() -> None:
    """Layers and libraries are where docs/architecture.md has them."""
    done = contracts(ROOT)
    assert 0 == done.returncode, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("server/stray.py", "", "imports run one way"),
        ("server/audio/stray.py", "import av", "Media libraries"),
        ("server/scheduler.py", "import falcon", "The web framework"),
        ("server/decoding/stray.py", "import server.http.forms", "imports run one way"),
        ("server/http/stray.py", "import prometheus_client", "Metrics know the server"),
        ("server/engines/stray.py", "import torch", "Each heavy library"),
        (
            "engine_build/stray.py",
            "import torch",
            "Engines are built without PyTorch",
        ),
        ("server/stray.py", "import engine_build.plan", "Commands know the server"),
    ],
)
def test_the_contracts_bite(tmp_path: Path, module: str, line: str, broken: str) -> None:
    """A copy of the tree with one wrong line breaks that contract."""
    for path in [*SOURCES, ROOT / "pyproject.toml"]:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    with (tmp_path / module).open("a") as out:
        out.write(f"\n{line}\n")
    done = contracts(tmp_path)
    assert 1 == done.returncode
    assert re.search(f"{broken}.* BROKEN", done.stdout), done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_says_what_it_knows(path: Path) -> None:
    """No vague name, and a docstring with both halves."""
    assert path.stem not in VAGUE
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstring = ast.get_docstring(tree) or ""
    if path.name != "__init__.py":
        assert re.search(r"Knows: |It owns ", docstring)
        assert "Must not " in docstring


def test_the_environment_is_read_in_few_places() -> None:
    """In the server only where it starts, and never by a setting's name."""
    readers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.is_relative_to(ROOT / "server")
        and re.search(r"\bos\.(environ|getenv)\b", path.read_text(encoding="utf-8"))
    }
    assert {"server/__main__.py"} == readers
