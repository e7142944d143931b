"""Everything that a run found out, in one value.

Knows: what a report holds.
Must not know: how it is laid out, or how figures come about.
"""

from dataclasses import dataclass, field

from ops.accuracy.findings import Difference, FalseText, Speed
from ops.accuracy.summary import Group
from ops.accuracy.timing import Run, StartDifferences


@dataclass(frozen=True)
class AtOnce:
    """The same clips sent `requests` at a time; `changed` texts differ from one by one."""

    requests: int
    audio_s: float
    wall_s: float
    changed: int
    failed: int


@dataclass(frozen=True)
class Report:
    """Everything that is printed and written; systems in the order of the columns."""

    systems: dict[str, dict[str, str]]
    """Name → what it was run with."""
    conditions: dict[str, str]
    clips: int
    audio_s: float
    groups: list[Group]
    false_text: dict[str, FalseText]
    speed: dict[str, Speed | None]
    long_runs: dict[str, dict[str, list[Run]]]
    word_starts: dict[str, StartDifferences] = field(default_factory=dict)
    known_word_starts: dict[str, StartDifferences] = field(default_factory=dict)
    detection: dict[str, tuple[int, int]] = field(default_factory=dict)
    differing: list[Difference] = field(default_factory=list)
    at_once: dict[str, AtOnce] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    not_run: list[str] = field(default_factory=list)
