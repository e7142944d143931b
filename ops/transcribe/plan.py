"""What there is to do: recordings, and the file that each result goes to.

Knows: which files of a folder are recordings, names of results, what is done already.
Must not know: requests, what is in a result.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.formats import ResponseFormat

AUDIO = "aac ac3 aif aiff amr au caf flac m4a m4b mka mp2 mp3 mpga oga ogg opus wav weba wma"
VIDEO = "3gp asf avi flv m4v mkv mov mp4 mpeg mpg mts ogv ts webm wmv"
EXTENSIONS = frozenset(f".{name}" for name in f"{AUDIO} {VIDEO}".split())
"""Which files of a folder are sent; one that is named itself is sent whatever it is called."""

SUFFIXES: Mapping[ResponseFormat, str] = {
    "text": "txt",
    "srt": "srt",
    "vtt": "vtt",
    "json": "json",
    "verbose_json": "json",
}
"""openai-whisper's names for what it writes."""


class PlanError(Exception):
    """Two recordings would write one file."""


@dataclass(frozen=True, slots=True)
class Job:
    """A recording, and where each format of its transcript goes."""

    source: Path
    outputs: Mapping[ResponseFormat, Path]

    def left(self) -> "Job":
        """What is still to be written: a result is there only when it is whole."""
        left = {name: path for name, path in self.outputs.items() if not path.exists()}
        return Job(self.source, left)


def plan(
    paths: Sequence[Path], formats: Sequence[ResponseFormat], output_dir: Path | None
) -> list[Job]:
    """Every recording that is named or in a named folder, once, in order.

    A result is called as its recording, with another extension; where two recordings of a folder
    differ in that alone, it is added instead.

    Raises:
        PlanError: two would write one file.
    """
    found = {source.resolve(): (source, kept) for source, kept in _recordings(paths)}
    wanted = [
        (source, (output_dir / kept if output_dir else source)) for source, kept in found.values()
    ]
    stems = Counter(place.with_suffix("") for _, place in wanted)
    jobs = [
        Job(source, {name: _output(place, SUFFIXES[name], stems) for name in formats})
        for source, place in wanted
    ]
    written = Counter(path for job in jobs for path in job.outputs.values())
    if twice := [str(path) for path, count in written.items() if count > 1]:
        raise PlanError(f"more than one recording would write {', '.join(sorted(twice)[:3])}")
    return jobs


def _output(place: Path, suffix: str, stems: Mapping[Path, int]) -> Path:
    stem = place.with_suffix("")
    return Path(f"{place if stems[stem] > 1 else stem}.{suffix}")


def _recordings(paths: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Recordings, each with its place below an output folder; what is hidden is left alone."""
    for path in paths:
        if not path.is_dir():
            yield path, Path(path.name)
            continue
        for folder, below, names in os.walk(path):
            below[:] = sorted(name for name in below if not name.startswith("."))
            for name in sorted(names):
                file = Path(folder, name)
                if file.suffix.lower() in EXTENSIONS and not name.startswith("."):
                    yield file, file.relative_to(path)
