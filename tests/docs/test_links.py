"""What the documents point at is there: links, files, recipes; both READMEs say the same."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("server", "engine_build", "ops", "tests", "docs", "requirements")
FILES = sorted(
    str(path.relative_to(ROOT))
    for top in (ROOT.glob("*"), *((ROOT / folder).rglob("*") for folder in FOLDERS))
    for path in top
    if path.is_file()
)
PAGES = [name for name in FILES if name.endswith(".md")]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)*\.(?:py|md|toml|in|tsv|ogg)")
RECIPES = set(
    re.findall(
        r"^([a-z][a-z0-9-]*)(?: [^:\n]*)?:(?!=)", (ROOT / "Justfile").read_text(), re.MULTILINE
    )
)


def text_of(page: str) -> str:
    """A page as it is."""
    return (ROOT / page).read_text(encoding="utf-8")


def prose_of(page: str) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", text_of(page))


def anchors(page: str) -> set[str]:
    """The fragments of a page's headings, as Git hosts make them."""
    titles = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link is a file here, and its fragment a heading there."""
    for link in LINK.findall(prose_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if fragment:
            assert fragment in anchors(str(target.resolve().relative_to(ROOT))), link


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(page: str) -> None:
    """What looks like a file or a folder of ours is one; a bare name may lie anywhere."""
    for name in re.findall(r"`([^`\n]+)`", prose_of(page)):
        if name.partition("/")[0] in FOLDERS and "/" in name and not re.search(r"[*<… ]", name):
            assert (ROOT / name.partition("::")[0]).exists(), name
        elif FILE.fullmatch(name):
            assert any(f"/{path}".endswith(f"/{name}") for path in FILES), name


@pytest.mark.parametrize("page", PAGES)
def test_named_recipes_exist(page: str) -> None:
    """A reader can paste every `./just` command."""
    assert set() == set(re.findall(r"\./just ([a-z][a-z0-9-]*)", text_of(page))) - RECIPES


@pytest.mark.parametrize("page", [page for page in PAGES if page.endswith(".pt-BR.md")])
def test_both_languages_say_the_same(page: str) -> None:
    """The same headings by level, the same code, links, tables and lists."""
    pages = text_of(page.replace(".pt-BR.", ".")), text_of(page)
    for pattern in (r"^(#+) ", r"^(\||- |\d\. )"):
        assert 1 == len({tuple(re.findall(pattern, text, re.MULTILINE)) for text in pages})
    assert FENCE.findall(pages[0]) == FENCE.findall(pages[1])
    english, portuguese = (LINK.findall(FENCE.sub("", text)) for text in pages)
    # the first link leads to the other language; a heading has another name there
    same = [link.replace(".pt-BR.", ".").partition("#")[0] for link in portuguese[1:]]
    assert [link.partition("#")[0] for link in english[1:]] == same
    proofs = [re.findall(r"`(tests/[^`]+)`", text) for text in pages]
    assert proofs[0] == proofs[1]


def names_in_rows(page: str, heading: str) -> list[set[str]]:
    """The names that stand as code in the first cell of each row below a heading."""
    section = text_of(page).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [set(re.findall(r"`(\w+)`", cell)) for cell in cells]


def test_the_layer_table_is_import_linters() -> None:
    """Row by row, top to bottom."""
    contracts = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if "containers" in contract]
    expected = [set(re.findall(r"\w+", layer)) for layer in layers]
    assert expected == names_in_rows("docs/architecture.md", "Layers")


def test_the_type_table_is_complete() -> None:
    """Every class of `server/types.py`, in its order."""
    tree = ast.parse(text_of("server/types.py"))
    classes = [{node.name} for node in tree.body if isinstance(node, ast.ClassDef)]
    assert classes == names_in_rows("docs/architecture.md", "Types")
