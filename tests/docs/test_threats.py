"""The threat model is whole: every attack has what stops it, and a test that is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[^`]+)`", PAGE)))


def attacks() -> list[list[str]]:
    """The rows of the tables about attacks, as cells."""
    model = PAGE.partition("## Threat model")[2].partition("\n## ")[0]
    tables = re.findall(r"^\| Attack \|.*\n\|---.*\n((?:\|.*\n)+)", model, re.MULTILINE)
    return [line.strip("|").split(" | ") for table in tables for line in table.splitlines()]


@pytest.mark.parametrize("row", attacks(), ids=lambda row: row[0].strip()[:40])
def test_every_attack_has_an_answer_and_a_test(row: list[str]) -> None:
    """Three cells, and the last one names tests."""
    attack, stopped_by, shown_by = row

    assert all(re.search(r"\w\w", cell) for cell in (attack, stopped_by))
    assert re.search(r"`tests/\w+", shown_by)


def test_there_are_attacks() -> None:
    """The tables were found."""
    assert len(attacks()) >= 20


@pytest.mark.parametrize("name", NAMED)
def test_every_test_that_is_named_exists(name: str) -> None:
    """A file or a folder with tests; behind `::` a function of that file."""
    path, _, function = name.partition("::")
    if not function:
        assert (ROOT / path).suffix == ".py" or [*(ROOT / path).glob("test_*.py")]
        assert (ROOT / path).exists()
        return
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
