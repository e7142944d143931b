"""The clips to score: a table of audio files with what is said in them.

Knows: the manifest's columns, and how clips are chosen.
Must not know: who transcribes them, or how they are scored.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.accuracy.options import AccuracyError
from ops.accuracy.timed import TimedText

COLUMNS = (
    "file", "language", "seconds", "reference", "source", "licence", "split", "kind", "note",
)  # fmt: skip

NO_LANGUAGE = "xx"
"""The language of a clip in which nobody speaks."""

NON_SPEECH_KINDS = ("silence", "noise", "music")


class ManifestError(AccuracyError):
    """The manifest cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One audio file; `seconds` is its length, `reference` what a person heard in it.

    `words` are where its words are known to stand; empty where nobody knows.
    """

    path: Path
    language: str
    seconds: float
    reference: str
    split: str
    kind: str
    words: tuple[TimedText, ...] = ()

    @property
    def name(self) -> str:
        """The file's name, which is unique in a manifest."""
        return self.path.name

    @property
    def is_speech(self) -> bool:
        """Whether there is anything to transcribe."""
        return self.language != NO_LANGUAGE and self.kind not in NON_SPEECH_KINDS


def read_manifest(path: Path) -> list[Clip]:
    """The clips of a tab-separated table; files lie beside it.

    Quotes have no meaning in the table: a reference may hold them. Where the times of a clip's
    words are known, `CLIP.words.tsv` beside it has the columns start, end and word.

    Raises:
        ManifestError: the table or one of its files is missing, a column is, or a length is no
            number.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            missing = sorted(set(COLUMNS) - set(table.fieldnames or ()))
            if missing:
                raise ManifestError(f"{path.name}: no column {', '.join(missing)}")
            clips = [_clip(path, number, row) for number, row in enumerate(table, start=2)]
    except OSError as error:
        raise ManifestError(f"{path.name}: {error.strerror}") from error
    names = [clip.name for clip in clips]
    if len(set(names)) < len(names):
        raise ManifestError(f"{path.name}: a file is listed twice")
    return clips


def _clip(manifest: Path, number: int, row: dict[str, str | None]) -> Clip:
    cells = {column: (row[column] or "").strip() for column in COLUMNS}
    path = manifest.parent / cells["file"]
    if not path.is_file():
        raise ManifestError(f"{manifest.name}:{number}: there is no file {cells['file']}")
    try:
        seconds = float(cells["seconds"])
    except ValueError as error:
        raise ManifestError(f"{manifest.name}:{number}: seconds is no number") from error
    clip = Clip(
        path,
        cells["language"],
        seconds,
        cells["reference"],
        cells["split"],
        cells["kind"],
        _known_words(path.with_name(path.name + ".words.tsv")),
    )
    if clip.is_speech and not clip.reference:
        raise ManifestError(f"{manifest.name}:{number}: speech without a reference")
    return clip


def _known_words(path: Path) -> tuple[TimedText, ...]:
    if not path.is_file():
        return ()
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            return tuple(
                TimedText(float(row["start"]), float(row["end"]), row["word"]) for row in table
            )
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestError(f"{path.name}: not start, end and word in every row") from error


def select(clips: Sequence[Clip], filters: Sequence[str], limit: int | None = None) -> list[Clip]:
    """The clips that pass every filter, at most `limit`, in the manifest's order.

    A filter is `field=value[,value…]` with field `language`, `kind`, `split` or `name` (a part of
    the file's name); `field!=…` keeps the others.

    Raises:
        ManifestError: a filter has another form.
    """
    for text in filters:
        field, equals, values = text.partition("=")
        keep = not field.endswith("!")
        field = field.removesuffix("!")
        if not equals or field not in {"language", "kind", "split", "name"}:
            raise ManifestError(f"{text}: not language=, kind=, split= or name=")
        wanted = values.split(",")
        clips = [clip for clip in clips if _matches(clip, field, wanted) is keep]
    return list(clips[:limit])


def _matches(clip: Clip, field: str, wanted: list[str]) -> bool:
    if field == "name":
        return any(part in clip.name for part in wanted)
    return getattr(clip, field) in wanted
