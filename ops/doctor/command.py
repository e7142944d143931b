"""`ops doctor`: what is well, what is not, and what to do.

Knows: the order of checks, exit codes.
Must not know: what is looked at.

Exit codes: 0 nothing has failed; 1 something has; 2 wrong usage.
"""

import os
import sys
from collections.abc import Iterator

import click

from ops.doctor.gpu import gpu
from ops.doctor.jobs import jobs
from ops.doctor.machine import machine
from ops.doctor.models import models
from ops.doctor.state import state
from ops.finding import Finding, failed, tell
from ops.options import AS_JSON
from server.settings import Settings, SettingsError


@click.command()
@AS_JSON
def doctor(*, as_json: bool) -> None:
    """Check that a server can work here as it is set up, and say what to do where it cannot."""
    sys.exit(tell(examine(), as_json=as_json))


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
    yield from state(settings)
    yield from jobs(settings)
    yield from models(settings)
    yield from gpu(settings)
