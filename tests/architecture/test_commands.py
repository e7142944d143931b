"""The Justfile and CI: what a stranger reads is there and true."""

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
JUSTFILE = (ROOT / "Justfile").read_text(encoding="utf-8")
RECIPE = re.compile(
    r"((?:^#.*\n)?(?:^\[.*\]\n)*)^([a-z_][a-z0-9-]*)(?: [^:\n]*)?:(?!=)", re.MULTILINE
)
RECIPES = {match[2]: match[1] for match in RECIPE.finditer(JUSTFILE)}
PUBLIC = sorted(name for name, head in RECIPES.items() if "[private]" not in head)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_recipe_is_explained(name: str) -> None:
    """`./just` lists it with a sentence."""
    assert re.match(r"# [A-Z].+\.\n", RECIPES[name])


def test_the_promised_recipes_exist() -> None:
    """The commands that the documents name."""
    promised = {"setup", "demo", "test", "serve", "check", "weights", "lint", "format", "lock"}
    assert set() == promised - set(PUBLIC)


@pytest.mark.parametrize("document", ["docs/operations.md", "docs/dependencies.md", "CHANGELOG.md"])
def test_documents_name_only_recipes_that_exist(document: str) -> None:
    """A reader can paste what is written."""
    named = re.findall(r"\./just ([a-z0-9-]+)", (ROOT / document).read_text(encoding="utf-8"))
    assert set() == set(named) - set(PUBLIC)


def test_ci_runs_what_people_run() -> None:
    """The same recipes, and a failure is a failure."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.search(r"^set -euo pipefail$", script, re.MULTILINE)
    assert ["setup", "_torch", "test", "oracle", "clients", "static"] == re.findall(
        r"^\./just (\w+)", script, re.MULTILINE
    )
    assert script.endswith('\nwait "$oracle"\n')


def test_no_two_test_files_share_a_name() -> None:
    """Tests are no packages: pytest takes one module of a name, and stops at the second."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    elsewhere = set(pyproject["tool"]["pytest"]["ini_options"]["norecursedirs"])
    files = [
        path.name
        for path in (ROOT / "tests").rglob("test_*.py")
        if not elsewhere & set(path.relative_to(ROOT / "tests").parts)
    ]
    assert len(files) > 100
    assert [] == [name for name, count in Counter(files).items() if count > 1]
