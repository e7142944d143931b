"""One thing that was looked at.

Knows: its three outcomes.
Must not know: how anything is looked at or shown.
"""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "failed"]
"""`note`: the server works, with less than it could have."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, and what to do about it; `todo` is there unless the state is ok."""

    check: str
    state: State
    found: str
    todo: str | None = None


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", found)


def note(check: str, found: str, todo: str) -> Finding:
    """The server works without it."""
    return Finding(check, "note", found, todo)


def failed(check: str, found: str, todo: str) -> Finding:
    """The server does not start, or will fail."""
    return Finding(check, "failed", found, todo)
