"""`ops backup` and `ops restore` beside a server that works: no request is lost by it."""

import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
from server_process import KEY, ROOT, Process, Start, noise

from server.access.keys import new_key

FORM = {"files": {"file": ("n.wav", noise(0.2))}, "data": {"language": "pt"}}


def ops(*arguments: object, **settings: str) -> str:
    """Run a command to its good end; what it said."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "ops", *map(str, arguments)],
        env={"PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


def transcribe(client: httpx.Client) -> int:
    """The status of a short transcription."""
    return client.post("/v1/audio/transcriptions", **FORM).status_code


def used(client: httpx.Client) -> int:
    """What the server says was answered."""
    return sum(day["requests"] for day in client.get("/v1/usage").json()["data"])


def kept(file: Path, folder: Path) -> int:
    """What a backup has of it."""
    subprocess.run(["tar", "-xf", file, "-C", folder, "usage.sqlite3"], check=True)
    with closing(sqlite3.connect(folder / "usage.sqlite3")) as database:
        return database.execute("SELECT sum(requests) FROM usage").fetchone()[0]


def test_a_round_trip_while_the_server_works(start: Start, tmp_path: Path) -> None:
    """Backups of a moment under load; put back under load, and the server counts on from there."""
    records, usage = tmp_path / "api_keys", tmp_path / "usage.sqlite3"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    records.write_text(KEY.record)
    settings = {"SUSSURRO_API_KEYS_FILE": str(records), "SUSSURRO_USAGE_DB": str(usage)}
    server: Process = start(**settings).ready()
    stop, statuses = threading.Event(), []

    def work(client: httpx.Client) -> None:
        while not stop.is_set():
            statuses.append(transcribe(client))

    with server.client() as client, ThreadPoolExecutor(2) as pool:
        assert 200 == transcribe(client)
        working = [pool.submit(work, client) for _ in range(2)]
        try:
            before = used(client)
            ops("backup", tmp_path / "b.tar", **settings)
            after = used(client)
            assert before <= kept(tmp_path / "b.tar", elsewhere) <= after + 2
            records.write_text(new_key("other").record)
            ops("restore", tmp_path / "b.tar", "--force", **settings)
        finally:
            stop.set()
        for each in working:
            each.result()
        assert KEY.record == records.read_text().strip()
        server.popen.send_signal(signal.SIGHUP)
        server.line("keys_reloaded")

        counted = used(client)
        assert kept(tmp_path / "b.tar", elsewhere) <= counted <= len(statuses) + 1
        assert 200 == transcribe(client)
        assert counted + 1 == used(client)
    assert {200} == set(statuses)
    assert [] == server.lines("usage_not_written")
    with closing(sqlite3.connect(usage)) as database:
        assert "ok" == database.execute("PRAGMA integrity_check").fetchone()[0]
        assert "wal" == database.execute("PRAGMA journal_mode").fetchone()[0]
