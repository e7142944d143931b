"""The pages about other clients are whole; what they say is checked by ./just clients and n8n."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def tables(name: str) -> list[list[list[str]]]:
    """A page's tables, as rows of cells, without the line below the heading."""
    found: list[list[list[str]]] = [[]]
    for line in (DOCS / name).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if not line.startswith("|"):
            found.append([])
        elif not line.startswith("|---"):
            found[-1].append(cells)
    return [table for table in found if table]


def test_errors_as_read_is_filled() -> None:
    """Both tables have the same failures, and a word in every cell."""
    said, shown = tables("errors-as-read.md")

    assert [row[0] for row in said[1:]] == [row[0] for row in shown[1:]]
    assert {4, 5} == {len(row) for table in (said, shown) for row in table}
    assert all(re.search(r"\w\w", cell) for table in (said, shown) for row in table for cell in row)


def test_errors_as_read_knows_its_codes() -> None:
    """Each is in the list of all codes."""
    known = (DOCS / "errors.md").read_text(encoding="utf-8")
    codes = {row[2] for row in tables("errors-as-read.md")[0][1:]} - {"none"}

    assert codes
    assert all(f"| {code} |" in known for code in codes)


def test_the_last_run_of_n8n_passed() -> None:
    """A page that promises something has a run that kept it."""
    run = (DOCS / "n8n.md").read_text(encoding="utf-8").partition("## Last run")[2]
    passed, of = map(int, re.findall(r"^result: (\d+) of (\d+) passed$", run, re.MULTILINE)[0])

    assert 25 <= passed == of
    assert passed == len(re.findall(r"^passed ", run, re.MULTILINE))
