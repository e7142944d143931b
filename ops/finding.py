"""Things that were looked at: what was found, what to do about it, how that is told.

Knows: three outcomes, how they are shown to people and to programs, the exit code.
Must not know: how anything is looked at.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

import click

State = Literal["ok", "note", "failed"]
"""`note`: the server works, with less than it could have."""

MARKS = {"ok": "ok    ", "note": "note  ", "failed": "FAILED"}


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


def tell(findings: Iterable[Finding], *, as_json: bool) -> int:
    """Show each as it comes, or all as JSON at the end; the exit code: 1 if one has failed."""
    told = []
    for finding in findings:
        told.append(finding)
        if not as_json:
            click.echo(f"{MARKS[finding.state]}  {finding.check}: {finding.found}")
        if finding.todo and not as_json:
            click.echo(f"          {finding.todo}")
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in told]))
    return int(any(finding.state == "failed" for finding in told))
