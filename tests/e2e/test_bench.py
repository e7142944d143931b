"""`ops bench` against a real server process."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from server_process import KEY, Start

from ops.bench.command import bench

FAST = ["--rounds", "1", "--short", "2", "--at-once", "2", "--long-seconds", "60", "--rate", "20"]


def test_a_running_server_is_measured(start: Start, tmp_path: Path) -> None:
    """All parts in a table and in JSON, with nothing failed, and nothing said that is not known."""
    server = start(FAKE_WINDOW_SECONDS="0.01").ready()
    done = CliRunner().invoke(
        bench,
        [*FAST, "--url", server.url, "--out", str(tmp_path), "--json"],
        env={"OPENAI_API_KEY": KEY.key},
    )
    assert 0 == done.exit_code, done.output
    report = json.loads((tmp_path / "bench.json").read_text())
    assert [
        "short, alone",
        "short, 2 at once",
        "short, 20 a second",
        "the long file",
        "short, beside a long file",
    ] == [load["name"] for load in report["loads"]]
    assert all(
        load["failed"] == 0 and load["requests"] and 0 < load["p50"] <= load["p99"]
        for load in report["loads"]
    )
    # Nothing on the event loop waits for the engine.
    assert all(0 < load["probe_max"] < 2 for load in report["loads"])
    assert all(load["bare_max"] > 0 for load in report["loads"])
    assert ({}, None) == (report["memory_mb"], report["loads"][0]["batch"])
    assert report == json.loads(done.stdout)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "401"),
        (["--clips", "/nowhere"], "manifest.tsv"),
    ],
)
def test_what_cannot_be_measured_is_told(
    start: Start, arguments: list[str], complaint: str
) -> None:
    """A wrong key or folder ends the command with a line, not with a traceback."""
    server = start().ready()
    done = CliRunner().invoke(
        bench, [*FAST, "--url", server.url, *arguments], env={"OPENAI_API_KEY": "wsk_wrong"}
    )
    assert 1 == done.exit_code
    assert complaint in done.output
    assert "Traceback" not in done.output
