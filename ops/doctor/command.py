"""`ops doctor`: what is well, what is not, and what to do.

Knows: the order of checks, exit codes, how findings are shown.
Must not know: what is looked at.

Exit codes: 0 nothing has failed; 1 something has; 2 wrong usage.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict

import click

from ops.doctor.finding import Finding, failed
from ops.doctor.gpu import gpu
from ops.doctor.machine import machine
from ops.doctor.models import models
from server.settings import Settings, SettingsError

MARKS = {"ok": "ok    ", "note": "note  ", "failed": "FAILED"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(*, as_json: bool) -> None:
    """Check that a server can work here as it is set up, and say what to do where it cannot."""
    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    if any(finding.state == "failed" for finding in findings):
        raise click.exceptions.Exit(1)


def examine() -> Iterator[Finding]:
    """All findings; wrong settings are the only ones then, since all else depends on them."""
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as error:
        for problem in error.problems:
            yield failed("settings", problem, "docs/settings.md lists names and values")
        return
    yield Finding("settings", "ok", "all are known, and have good values")
    yield from machine(settings)
    yield from models(settings)
    yield from gpu(settings)


def _show(finding: Finding) -> None:
    click.echo(f"{MARKS[finding.state]}  {finding.check}: {finding.found}")
    if finding.todo:
        click.echo(f"          {finding.todo}")
