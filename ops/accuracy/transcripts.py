"""What a system made of a clip, and the folder that remembers it.

Knows: a hypothesis, its JSON, and what makes two runs the same run.
Must not know: how a system works, or how a hypothesis is scored.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ops.accuracy.manifest import Clip
from ops.accuracy.timed import TimedText


@dataclass(frozen=True)
class Hypothesis:
    """One system's answer for one clip.

    `language` is a code or an English name, as the system says it; None if it says nothing.
    `wall_s` runs from the file on disk to the text; `cpu_s` is this process's, None for a server.
    `error` is why there is no answer; the text is empty then.
    """

    text: str
    language: str | None
    wall_s: float
    cpu_s: float | None = None
    segments: tuple[TimedText, ...] = ()
    words: tuple[TimedText, ...] = ()
    error: str | None = None


class System(Protocol):
    """Something that turns a clip into text."""

    @property
    def name(self) -> str:
        """The column's title in the report."""
        ...

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """Everything besides the clip that may change the text: options, weights, versions."""
        ...

    def transcribe(self, clip: Clip) -> Hypothesis:
        """The clip's text."""
        ...


HYPOTHESIS: TypeAdapter[Hypothesis] = TypeAdapter(Hypothesis)


def file_sha256(path: Path) -> str:
    """The hash of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Cached:
    """A system that remembers its answers on disk, so that a second run costs nothing.

    Entries are named by the sha256 of (audio, language, fingerprint); a damaged one is made anew.
    """

    def __init__(self, system: System, folder: Path) -> None:
        self._system = system
        self._folder = folder
        self._fingerprint = dict(system.fingerprint)

    @property
    def name(self) -> str:
        """The system's own name."""
        return self._system.name

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """The system's own fingerprint."""
        return self._fingerprint

    def transcribe(self, clip: Clip) -> Hypothesis:
        """The remembered answer, else a new one; failures are not remembered."""
        path = self._path(clip)
        try:
            return HYPOTHESIS.validate_json(path.read_bytes())
        except (OSError, ValidationError):
            hypothesis = self._system.transcribe(clip)
        if hypothesis.error is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".part")
            partial.write_bytes(HYPOTHESIS.dump_json(hypothesis))
            partial.replace(path)
        return hypothesis

    def _path(self, clip: Clip) -> Path:
        run = {
            "audio": file_sha256(clip.path),
            "language": clip.language,
            "system": self.name,
            **self._fingerprint,
        }
        key = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()
        return self._folder / key[:2] / f"{key}.json"
