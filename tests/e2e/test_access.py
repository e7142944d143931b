"""Keys, tokens and usage of the real process: taken over while it runs, kept when it dies."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from server_process import FAKE, KEY, ROOT, Process, Start, noise

from server.access.keys import NewKey, new_key

TRANSCRIPTIONS = "/v1/audio/transcriptions"
FILES = {"file": ("n.wav", noise(2.0))}


@pytest.fixture(scope="module")
def web() -> Iterator[httpx.Client]:
    """For all servers and threads: to make a client takes longer than to ask."""
    with httpx.Client(timeout=30) as client:
        yield client


def get(web: httpx.Client, server: Process, key: NewKey = KEY) -> int:
    """The status of a request with a key."""
    headers = {"Authorization": f"Bearer {key.key}"}
    return web.get(f"{server.url}/v1/models", headers=headers).status_code


def transcribe(web: httpx.Client, server: Process) -> int:
    """The status of a transcription; 0 if the server went away."""
    headers = {"Authorization": f"Bearer {KEY.key}"}
    try:
        return web.post(
            server.url + TRANSCRIPTIONS, files=FILES, data={"language": "pt"}, headers=headers
        ).status_code
    except httpx.TransportError:
        return 0


def start_with(start: Start, records: Path, **environ: str) -> Process:
    """A server whose keys are in a file; the test's environment has none."""
    records.write_text(KEY.record)
    return start(SUSSURRO_API_KEYS_FILE=str(records), **environ)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A file of key records."""
    return tmp_path / "api_keys"


def wait_for(true: Callable[[], bool], within: float = 10.0) -> None:
    """Until it is so."""
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_sighup_takes_other_keys_and_drops_no_request(
    start: Start, records: Path, web: httpx.Client
) -> None:
    """New keys work, old ones stop, and what is under way under an old one ends well."""
    new = new_key("new")
    server = start_with(start, records, FAKE_WINDOW_SECONDS="1.5").ready()
    answers: list[int] = []
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            answers.append(get(web, server))

    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(transcribe, web, server)
        asking = pool.submit(keep_asking)
        try:
            for number in range(5):
                records.write_text(f"{KEY.record} {new_key(f'k{number}').record}")
                server.popen.send_signal(signal.SIGHUP)
                asked = len(answers)
                wait_for(lambda asked=asked: len(answers) > asked + 2)
        finally:
            stop.set()
        asking.result()
        records.write_text(new.record)
        server.popen.send_signal(signal.SIGHUP)
        wait_for(lambda: get(web, server, new) == 200)

        assert 401 == get(web, server)
        assert 200 == running.result()
    assert len(answers) > 10
    assert {200} == set(answers)
    assert 1 == server.lines("keys_reloaded")[-1]["keys"]


def test_sighup_while_it_starts_is_held(start: Start, records: Path, web: httpx.Client) -> None:
    """From its first line on; once there are keys to read anew, it reads them."""
    server = start_with(start, records)
    status = Path(f"/proc/{server.popen.pid}/status")
    # All signals are held for a moment whenever a process is started: this one alone is ours.
    held = 1 << (signal.SIGHUP - 1)
    wait_for(lambda: held == int(status.read_text().split("SigBlk:")[1].split()[0], 16))
    new = new_key("new")
    records.write_text(new.record)
    server.popen.send_signal(signal.SIGHUP)

    assert 1 == server.line("keys_reloaded")["keys"]
    assert 200 == get(web, server, new)
    assert 401 == get(web, server)


def test_keys_that_cannot_be_read_change_nothing(
    start: Start, records: Path, web: httpx.Client
) -> None:
    """Empty, wrong or gone: the log tells, and the present keys stay."""
    server = start_with(start, records)
    assert 200 == get(web, server)
    for number, spoil in enumerate(
        (
            lambda: records.write_text(""),
            lambda: records.write_text("a:md5:hunter2"),
            records.unlink,
        ),
        start=1,
    ):
        spoil()
        server.popen.send_signal(signal.SIGHUP)
        wait_for(lambda number=number: number == len(server.lines("keys_not_reloaded")))

    assert [1, 1, 1] == [len(line["problems"]) for line in server.lines("keys_not_reloaded")]
    assert "hunter2" not in server.stdout
    assert 200 == get(web, server)


def test_usage_survives_a_kill(start: Start, tmp_path: Path, web: httpx.Client) -> None:
    """Every 200 is counted once. One that was under way is counted at the most, never missed."""
    database = str(tmp_path / "usage.sqlite3")
    answered = 0
    for _ in range(2):
        server = start(SUSSURRO_USAGE_DB=database, FAKE_WINDOW_SECONDS="0.05").ready()
        with ThreadPoolExecutor(4) as pool:
            results = [pool.submit(transcribe, web, server) for _ in range(40)]
            time.sleep(0.8)
            server.popen.kill()
            answered += [result.result() for result in results].count(200)
    server = start(SUSSURRO_USAGE_DB=database).ready()
    with server.client() as client:
        before = usage(client)
        assert [200] * 3 == [transcribe(web, server) for _ in range(3)]
        assert before + 3 == usage(client)

    assert 0 < answered <= before <= answered + 2 * 4


def usage(client: httpx.Client) -> int:
    """One's own requests on all days."""
    return sum(day["requests"] for day in client.get("/v1/usage").json()["data"])


def test_minutes_of_today_survive_a_restart(start: Start, tmp_path: Path) -> None:
    """Without Redis the next process goes on where the last one was."""
    environ = {
        "SUSSURRO_USAGE_DB": str(tmp_path / "usage.sqlite3"),
        "SUSSURRO_AUDIO_MINUTES_PER_DAY": "1",
    }
    long = {"file": ("n.wav", noise(40.0))}
    codes = []
    while time.time() % 86_400 > 86_340:  # the day must not end in between
        time.sleep(1)
    for _ in range(2):
        server = start(**environ).ready()
        with server.client() as client:
            response = client.post(TRANSCRIPTIONS, files=long, data={"language": "pt"})
            codes.append(response.status_code)
        server.popen.kill()

    assert [200, 429] == codes


@pytest.mark.model
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUSSURRO_USAGE_DB", "/nowhere/usage"),
        ("SUSSURRO_REDIS_URL", "http://hunter2@127.0.0.1"),
    ],
)
def test_a_wrong_setting_stops_the_start(
    start: Start, weights_dir: Path, name: str, value: str
) -> None:
    """Exit code 78, with the problem and without the value."""
    server = start("-m", "server", SUSSURRO_WEIGHTS_DIR=str(weights_dir), **{name: value})

    assert 78 == server.exit_code()
    assert 1 == len(server.stderr.splitlines())
    assert "hunter2" not in server.stderr


def test_a_server_whose_terminal_goes_ends(tmp_path: Path) -> None:
    """SIGHUP means two things: with a terminal that is gone it means the older one."""
    ours, theirs = pty.openpty()
    out = (tmp_path / "out").open("wb")
    process = subprocess.Popen(
        [sys.executable, FAKE],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "SUSSURRO_API_KEYS": KEY.record,
            "SUSSURRO_PORT": "0",
            "SUSSURRO_SANDBOX": "available",
            "SUSSURRO_DRAIN_GRACE": "0",
        },
        stdin=theirs,
        stdout=out,
        start_new_session=True,
    )
    try:
        os.close(theirs)
        wait_for(lambda: b'"ready"' in (tmp_path / "out").read_bytes(), 30)
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: b'"keys_reloaded"' in (tmp_path / "out").read_bytes())
        os.close(ours)
        process.send_signal(signal.SIGHUP)

        assert 0 == process.wait(15)
    finally:
        process.kill()
        out.close()
