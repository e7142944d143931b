"""`ops doctor`: each thing that can be wrong is found, and it is said what to do."""

import json
import re
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from redis_server import RedisServer

from ops.__main__ import main
from ops.doctor import models
from ops.doctor import state as doctor_state
from ops.doctor.state import state
from ops.finding import Finding
from server.access.keys import new_key
from server.access.usage import SCHEMA
from server.settings import Settings


class Machine:
    """A folder for everything, and settings that name it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        self.settings = {
            "PATH": str(folder / "bin"),
            "SUSSURRO_API_KEYS": new_key("tester").record,
            "SUSSURRO_PORT": "0",
            "SUSSURRO_SPOOL_DIR": str(folder),
            "SUSSURRO_ENGINES_DIR": str(folder / "engines"),
            "SUSSURRO_WEIGHTS_DIR": str(folder / "weights"),
            "SUSSURRO_SANDBOX": "available",
        }

    def examine(self, status: int, **settings: str) -> dict[str, Any]:
        """Findings by what was looked at; a state that is not ok always says what to do."""
        done = CliRunner().invoke(main, ["doctor", "--json"], env=self.settings | settings)
        assert status == done.exit_code, done.output
        findings = json.loads(done.stdout)
        for finding in findings:
            assert (finding["state"] == "ok") == (finding["todo"] is None), finding
        assert bool(status) == any(finding["state"] == "failed" for finding in findings)
        return {finding["check"]: finding for finding in findings}

    def card(self, line: str) -> None:
        """Put a GPU into the machine, as far as nvidia-smi goes."""
        program = self.folder / "bin" / "nvidia-smi"
        program.write_text(f"#!/bin/sh\necho '{line}'\n")
        program.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine without weights and without a key of `./just serve`."""
    monkeypatch.setattr(models, "OWN", tmp_path / "none")
    return Machine(tmp_path)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which something else listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_wrong_settings_are_all_told(machine: Machine) -> None:
    """And nothing else, for all else depends on them."""
    done = CliRunner().invoke(
        main, ["doctor"], env=machine.settings | {"SUSSURRO_PORT": "x", "SUSSURRO_TYPO": "1"}
    )
    assert 1 == done.exit_code
    assert 2 == done.output.count("FAILED  settings: SUSSURRO_")
    assert "docs/settings.md" in done.output


def test_what_stops_a_start_is_a_failure(machine: Machine, taken: int) -> None:
    """No key, no weights, no port, no folder for uploads: each by itself."""
    found = machine.examine(
        1,
        SUSSURRO_API_KEYS="",
        SUSSURRO_PORT=str(taken),
        SUSSURRO_SPOOL_DIR="/nowhere/at/all",
    )
    for check, todo in {
        "keys": "ops keys new NAME",
        "weights of base": "ops weights get base",
        "engine of base": "docs/engines.md",
        "port": "set SUSSURRO_PORT",
        "spool": "set SUSSURRO_SPOOL_DIR",
    }.items():
        assert "failed" == found[check]["state"], check
        assert todo in found[check]["todo"]
    assert "no GPU" not in str(found) or "ok" == found["gpu"]["state"]


def test_a_damaged_key_record_is_told_without_it(machine: Machine) -> None:
    """A record is half a secret."""
    found = machine.examine(1, SUSSURRO_API_KEYS="n8n:md5:abcdef")
    assert "key record 1" in found["keys"]["found"]
    assert "abcdef" not in str(found)


def test_the_key_of_just_serve_counts(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts the server that way needs no other."""
    kept = machine.folder / "api_keys"
    kept.write_text(f"# a comment\n{new_key('local').record}\n")
    monkeypatch.setattr(models, "OWN", kept)
    assert "ok" == machine.examine(1, SUSSURRO_API_KEYS="")["keys"]["state"]


def test_too_little_room_and_memory(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is a failure; room that only the largest upload needs is a note."""
    monkeypatch.setattr(models, "available_memory_bytes", lambda: 100 << 20)
    found = machine.examine(1, SUSSURRO_MAX_UPLOAD_BYTES=str(1 << 60))
    assert ("failed", "note") == (found["memory"]["state"], found["spool"]["state"])


def test_a_gpu_that_was_asked_for_and_is_not_there(machine: Machine) -> None:
    """A failure; without being asked for it is none."""
    assert "ok" == machine.examine(1)["gpu"]["state"]
    found = machine.examine(1, SUSSURRO_ENGINE="tensorrt_llm")
    assert "failed" == found["gpu"]["state"]
    assert "container toolkit" in found["gpu"]["todo"]


def test_a_gpu_is_looked_at_from_all_sides(machine: Machine) -> None:
    """Card, driver, versions and memory for all models together."""
    machine.card("NVIDIA L40, 8.9, 535.129.03, 46068")
    models = "large-v3,large-v2,medium,small"
    found = machine.examine(1, SUSSURRO_MODELS=models, SUSSURRO_GPUS="0,3")
    assert "ok" == found["gpu 0"]["state"]
    assert ("note", "535.129.03") == (found["driver"]["state"], found["driver"]["found"])
    assert "failed" == found["memory of gpu 0"]["state"]
    assert "set SUSSURRO_GPUS" in found["gpu 3"]["todo"]
    assert ("note", "not installed") == (
        found["tensorrt_llm"]["state"], found["tensorrt_llm"]["found"],
    )  # fmt: skip
    found = machine.examine(1, SUSSURRO_MODELS="large-v3")
    assert "ok" == found["memory of gpu 0"]["state"]


def kept(**settings: str) -> dict[str, Finding]:
    """What is said of the clock, of usage and of Redis."""
    return {finding.check: finding for finding in state(Settings.from_env(settings))}


def test_where_usage_is_kept(tmp_path: Path) -> None:
    """Nowhere is a note; a place that cannot be written, or that is damaged, a failure."""
    assert "note" == kept()["usage"].state
    file = tmp_path / "usage.sqlite3"
    assert "will be made" in kept(SUSSURRO_USAGE_DB=str(file))["usage"].found
    assert not file.exists()
    with closing(sqlite3.connect(file)) as made:
        made.execute(SCHEMA)
    assert "ok" == kept(SUSSURRO_USAGE_DB=str(file))["usage"].state
    file.write_bytes(b"SQLite format 3\0" + bytes(4080))
    for path in (str(file), "/nowhere/usage", str(tmp_path)):
        found = kept(SUSSURRO_USAGE_DB=path)["usage"]
        assert "failed" == found.state, found


def test_redis_is_asked(redis: RedisServer) -> None:
    """A real one tells its version; one that is gone is a note. No password is repeated."""
    found = kept(SUSSURRO_REDIS_URL=redis.url)["redis"]
    assert re.fullmatch(r"version \d+\.\d+\.\d+, answers in \d+\.\d ms", found.found)
    redis.kill()
    url = redis.url.replace("//", "//:hunter2@") if "://" in redis.url else redis.url
    found = kept(SUSSURRO_REDIS_URL=url)["redis"]
    assert ("note", False) == (found.state, "hunter2" in str(found))
    found = kept(SUSSURRO_REDIS_URL="http://hunter2@x")["redis"]
    assert ("failed", False) == (found.state, "hunter2" in str(found))


def test_servers_without_redis() -> None:
    """One needs none; of two it is said what that means."""
    assert "ok" == kept()["redis"].state
    assert "admits its share" in kept(SUSSURRO_REPLICAS="2")["redis"].found


@pytest.mark.parametrize(
    ("status", "expected", "word"),
    [(0, "ok", "synchronised"), (5, "note", "not synchronised"), (-1, "ok", "not told")],
)
def test_the_clock(monkeypatch: pytest.MonkeyPatch, status: int, expected: str, word: str) -> None:
    """What the kernel says of it, if it says anything."""
    kernel = SimpleNamespace(adjtimex=lambda _: status)
    monkeypatch.setattr(doctor_state.ctypes, "CDLL", lambda _: kernel)
    found = kept()["clock"]

    assert (expected, True) == (found.state, word in found.found)


@pytest.mark.model
def test_a_machine_on_which_all_is_well(machine: Machine, weights_dir: Path) -> None:
    """Exit code 0; a GPU that lies idle is a note, with the command that uses it."""
    settings = {"SUSSURRO_WEIGHTS_DIR": str(weights_dir)}
    found = machine.examine(0, **settings)
    assert {"clock", "usage", "redis"} < found.keys()
    assert "ctranslate2, build weights: no GPU" == found["engine of base"]["found"]
    assert "ok" == found["weights of base"]["state"]
    machine.card("NVIDIA L40, 8.9, 580.82.07, 46068")
    found = machine.examine(0, **settings)
    assert "note" == found["engine of base"]["state"]
    assert "ops engines rebuild base" in found["engine of base"]["todo"]
    assert "ok" == found["driver"]["state"]


def test_where_jobs_lie_is_looked_at(machine: Machine) -> None:
    """The folder, the table in it, a database without a folder; nothing is made."""
    folder = machine.folder / "jobs"
    there = {"SUSSURRO_JOBS_DIR": str(folder)}
    off = machine.examine(1)["jobs"]
    new = machine.examine(1, **there)["jobs"]
    assert not folder.exists()
    folder.mkdir()
    (folder / "jobs.sqlite3").write_bytes(b"no database" * 1000)
    damaged = machine.examine(1, **there)["jobs"]
    alone = machine.examine(1, SUSSURRO_DATABASE_URL="postgresql://x:hunter2@127.0.0.1:1/y")
    away = machine.examine(1, SUSSURRO_DATABASE_URL="postgresql://x:hunter2@127.0.0.1:1/y", **there)

    assert "refused" in off["found"]
    assert ("ok", True) == (new["state"], new["found"].endswith("will be made"))
    assert "failed" == damaged["state"]
    assert "SUSSURRO_JOBS_DIR" in alone["jobs"]["todo"]
    assert "failed" == away["jobs database"]["state"]
    assert "hunter2" not in str(away)
