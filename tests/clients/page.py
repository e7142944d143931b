"""docs/errors-as-read.md: tables whose cells are what clients showed.

Knows: Markdown tables; a row is named by its first cell, a column by its heading.
Must not know: how a cell comes about.
"""

from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "errors-as-read.md"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]


class Page:
    """The page's tables."""

    def __init__(self, path: Path = PAGE) -> None:
        self._path = path
        self._lines = path.read_text(encoding="utf-8").splitlines()

    def row(self, title: str, columns: Mapping[str, str]) -> dict[str, str]:
        """What the page has in these columns of a row; one that is missing is empty."""
        return {name: self._find(title, name)[1] for name in columns}

    def write(self, title: str, columns: Mapping[str, str]) -> None:
        """Put cells into a row that is there, and save the page."""
        for name, text in columns.items():
            assert " | " not in text, "a cell would become two"
            number, old = self._find(title, name)
            assert number, f"{PAGE.name} has no row «{title}» with a column «{name}»"
            cells, names = _cells(self._lines[number]), self._names(number)
            cells += [""] * (len(names) - len(cells))
            assert old == cells[names.index(name)]
            cells[names.index(name)] = text
            self._lines[number] = f"| {' | '.join(cells)} |"
        self._path.write_text("\n".join([*self._lines, ""]), encoding="utf-8")

    def titles(self, column: str) -> list[str]:
        """The rows of the table that has this column, in their order."""
        rows = [n for n, line in enumerate(self._lines) if line.startswith("| ")]
        every = [
            n for n in rows if column in self._names(n) and self._names(n) != _cells(self._lines[n])
        ]
        return [_cells(self._lines[n])[0] for n in every]

    def _names(self, number: int) -> list[str]:
        """The headings above a line of a table."""
        while number and self._lines[number - 1].startswith("|"):
            number -= 1
        return _cells(self._lines[number])

    def _find(self, title: str, column: str) -> tuple[int, str]:
        """(line, cell), or (0, "")."""
        for number, line in enumerate(self._lines):
            names = self._names(number) if line.startswith("| ") else []
            if column in names and _cells(line)[0] == title:
                cells = _cells(line) + [""] * len(names)
                return number, cells[names.index(column)]
        return 0, ""
