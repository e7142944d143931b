from pathlib import Path

import pytest

from ops.accuracy.manifest import COLUMNS, Clip, ManifestError, read_manifest, select
from ops.accuracy.timed import TimedText

ROWS = (
    ("a.wav", "en", "1.5", 'he said "yes', "", "", "dev", "short", ""),
    ("b.wav", "pt", "2", "sim", "", "", "held-out", "noisy", ""),
    ("c.wav", "xx", "3", "", "", "", "dev", "silence", ""),
)


def write(
    folder: Path, rows: tuple[tuple[str, ...], ...] = ROWS, columns: tuple[str, ...] = COLUMNS
) -> Path:
    """A manifest with these rows, and an empty file for each."""
    for row in rows:
        (folder / row[0]).touch()
    path = folder / "clips.tsv"
    path.write_text("\n".join("\t".join(row) for row in (columns, *rows)) + "\n", encoding="utf-8")
    return path


def test_rows_become_clips_beside_the_manifest(tmp_path: Path) -> None:
    """A row is a clip; its file lies beside the table and quotes mean nothing."""
    expected = Clip(tmp_path / "a.wav", "en", 1.5, 'he said "yes', "dev", "short")
    assert expected == read_manifest(write(tmp_path))[0]


def test_known_words_lie_beside_their_clip(tmp_path: Path) -> None:
    """A table of a clip's words gives their times; a damaged one stops the run."""
    table = write(tmp_path)
    words = tmp_path / "a.wav.words.tsv"
    words.write_text("start\tend\tword\n0.5\t0.75\the\n", encoding="utf-8")

    assert [clip.words for clip in read_manifest(table)] == [(TimedText(0.5, 0.75, "he"),), (), ()]

    words.write_text("start\tword\n0.5\the\n", encoding="utf-8")
    with pytest.raises(ManifestError, match=r"a\.wav\.words\.tsv"):
        read_manifest(table)


def test_clips_without_speech_are_known() -> None:
    """No language or a kind without speech means that nobody speaks."""
    cases = {("en", "short"): True, ("xx", "short"): False, ("en", "music"): False}
    for (language, kind), expected in cases.items():
        assert expected == Clip(Path("a"), language, 1.0, "", "", kind).is_speech


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((("a.wav", "en", "long", "yes", "", "", "", "", ""),), ":2: seconds is no number"),
        ((("a.wav", "en", "1", "", "", "", "", "short", ""),), ":2: speech without a reference"),
        ((ROWS[0], ROWS[0]), "a file is listed twice"),
    ],
)
def test_a_bad_row_is_named(
    tmp_path: Path, rows: tuple[tuple[str, ...], ...], message: str
) -> None:
    """A row that cannot be used stops the run, with its line."""
    with pytest.raises(ManifestError, match=message):
        read_manifest(write(tmp_path, rows))


def test_a_missing_column_table_or_file_is_named(tmp_path: Path) -> None:
    """What is missing is said, whether a column, an audio file or the table."""
    with pytest.raises(ManifestError, match="no column kind"):
        read_manifest(write(tmp_path, (), tuple(c for c in COLUMNS if c != "kind")))
    path = write(tmp_path)
    (tmp_path / "b.wav").unlink()
    with pytest.raises(ManifestError, match=r":3: there is no file b\.wav"):
        read_manifest(path)
    with pytest.raises(ManifestError, match="No such file"):
        read_manifest(tmp_path / "none.tsv")


@pytest.mark.parametrize(
    ("filters", "limit", "expected"),
    [
        ([], None, ["a.wav", "b.wav", "c.wav"]),
        ([], 2, ["a.wav", "b.wav"]),
        (["language=pt,xx"], None, ["b.wav", "c.wav"]),
        (["language=pt,xx", "kind!=silence"], None, ["b.wav"]),
        (["split=dev", "name!=a.w"], None, ["c.wav"]),
        (["name=b,c"], 1, ["b.wav"]),
    ],
)
def test_filters_all_apply_before_the_limit(
    tmp_path: Path, filters: list[str], limit: int | None, expected: list[str]
) -> None:
    """A clip must pass every filter; order is kept; the limit comes last."""
    clips = select(read_manifest(write(tmp_path)), filters, limit)
    assert expected == [clip.name for clip in clips]


@pytest.mark.parametrize("text", ["pt", "reference=x", "=en"])
def test_an_unknown_filter_is_refused(text: str) -> None:
    """A filter on another field, or without a field, is a mistake."""
    with pytest.raises(ManifestError, match="not language="):
        select([], [text])
