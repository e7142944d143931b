"""Real servers that are killed, stopped and started again; several that share one queue."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from postgres_server import PostgresServer
from server_process import Process, Start, launcher, noise

ROUTE = "/v1/audio/transcriptions"
AUDIO = noise(300.0, pauses=range(20, 300, 20))
SHORT = noise(4.0)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers whose engine says something else to each window."""
    with launcher(tmp_path) as launch:

        def with_words(**environ: str) -> Process:
            common = {"FAKE_WORDS": "1", "SUSSURRO_JOB_LEASE": "1", "SUSSURRO_DRAIN_GRACE": "0"}
            return launch(**{**common, **environ})

        yield with_words


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, str]:
    """What servers that follow one another share."""
    return {
        "SUSSURRO_JOBS_DIR": str(tmp_path / "jobs"),
        "SUSSURRO_USAGE_DB": str(tmp_path / "usage.sqlite3"),
    }


def post(client: httpx.Client, audio: bytes = AUDIO, **fields: str) -> httpx.Response:
    """A recording."""
    return client.post(ROUTE, files={"file": ("n.wav", audio)}, data={"language": "pt", **fields})


def submit(client: httpx.Client, audio: bytes = AUDIO) -> str:
    """A job's path."""
    response = post(client, audio, background="true")
    assert 202 == response.status_code, response.text
    return response.headers["location"]


def until(client: httpx.Client, path: str, reached: Any, within: float = 30.0) -> dict[str, Any]:
    """The job, once it is so."""
    end = time.monotonic() + within
    while not reached(job := client.get(path).json()):
        assert time.monotonic() < end, job
        time.sleep(0.03)
    return job


def ended(job: dict[str, Any]) -> bool:
    """Whether a job is done."""
    return job["status"] not in ("queued", "running")


def half_done(server: Process, client: httpx.Client, hold: Path) -> str:
    """The path of a job of which some windows are done, and no more will be."""
    path = submit(client)
    until(client, path, lambda job: job["done_seconds"] >= 60)
    hold.touch()
    time.sleep(0.2)
    assert [] == server.lines("job")
    return path


def requests_used(client: httpx.Client) -> int:
    """Transcriptions that were counted."""
    return sum(day["requests"] for day in client.get("/v1/usage").json()["data"])


def test_a_killed_server_goes_on_where_it_was(
    start: Start, kept: dict[str, str], tmp_path: Path
) -> None:
    """The same text as without the kill; what was done is not done again, and counted once."""
    hold = tmp_path / "hold"
    first = start(FAKE_WINDOW_SECONDS="0.1", FAKE_HOLD=str(hold), **kept).ready()
    with first.client() as client:
        expected = post(client).json()["text"]
        path = half_done(first, client, hold)
    windows = first.lines("request")[0]["windows"]
    first.popen.kill()
    second = start(**kept).ready()
    with second.client() as client:
        assert "succeeded" == until(client, path, ended)["status"]
        text = client.get(path + "/transcript").json()["text"]
        used = requests_used(client)
    line = second.line("job")

    assert len(expected) > 200
    assert expected == text
    assert line["windows_kept"] >= 3
    assert windows == line["windows"] + line["windows_kept"]
    assert 2 == used
    assert [] == list((Path(kept["SUSSURRO_JOBS_DIR"]) / "audio").iterdir())


def test_a_server_that_stops_lets_its_jobs_go_at_once(
    start: Start, kept: dict[str, str], tmp_path: Path
) -> None:
    """The next one need not wait for a lease to end, and finds what is done."""
    long_lease = {**kept, "SUSSURRO_JOB_LEASE": "3600"}
    hold = tmp_path / "hold"
    first = start(FAKE_WINDOW_SECONDS="0.1", FAKE_HOLD=str(hold), **long_lease).ready()
    with first.client() as client:
        path = half_done(first, client, hold)
    assert 0 == first.stop()
    second = start(**long_lease).ready()
    with second.client() as client:
        assert "succeeded" == until(client, path, ended)["status"]

    assert second.line("job")["windows_kept"] >= 3
    assert 1 == second.line("job")["attempts"]


def test_a_cancelled_job_ends_at_once(start: Start, kept: dict[str, str]) -> None:
    """The engine is free for the next; what was begun stays charged, and is not counted."""
    server = start(FAKE_WINDOW_SECONDS="0.3", SUSSURRO_MAX_RUNNING_JOBS="1", **kept).ready()
    with server.client() as client:
        running, waiting = submit(client), submit(client, SHORT)
        until(client, running, lambda job: job["status"] == "running")
        assert "cancelled" == client.delete(running).json()["status"]
        assert "succeeded" == until(client, waiting, ended)["status"]
        used = requests_used(client)
        again = client.get(running).json()

    assert "cancelled" == again["status"]
    assert 1 == used


def test_a_database_that_is_away_is_no_wrong_setting(
    start: Start, tmp_path: Path, postgres: PostgresServer
) -> None:
    """A supervisor starts the server again (1), and need not be told to give up (78)."""
    common = {"SUSSURRO_JOBS_DIR": str(tmp_path / "jobs")}
    url = postgres.url("nowhere")
    away = start(SUSSURRO_DATABASE_URL=url.replace(str(postgres.port), "1"), **common)
    wrong = start(SUSSURRO_DATABASE_URL="mysql://x", **common)

    assert (1, 78) == (away.exit_code(), wrong.exit_code())
    assert "SUSSURRO_DATABASE_URL: cannot be opened (OperationalError)\n" in away.stderr
    assert "Traceback" not in away.stderr + wrong.stderr


def test_servers_share_one_queue(start: Start, tmp_path: Path, postgres: PostgresServer) -> None:
    """One of two is killed among jobs: each job ends, once, with its own text."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE servers")
    environ = {
        "SUSSURRO_JOBS_DIR": str(tmp_path / "jobs"),
        "SUSSURRO_DATABASE_URL": postgres.url("servers"),
        "FAKE_WINDOW_SECONDS": "0.1",
    }
    first, second = start(**environ), start(**environ)
    audio = [noise(6.0 + number) for number in range(12)]
    with first.ready().client() as one, second.ready().client() as two:
        expected = [post(one, each).json()["text"] for each in audio[:4]]
        paths = [submit((one, two)[number % 2], each) for number, each in enumerate(audio)]
        until(two, paths[2], ended)
        first.popen.kill()
        jobs = [until(two, path, ended) for path in paths]
        texts = [two.get(path + "/transcript").json()["text"] for path in paths]
        everything = two.get("/v1/jobs?limit=100").json()["data"]

    assert {"succeeded"} == {job["status"] for job in jobs}
    assert expected == texts[:4]
    assert len(audio) == len(everything)
    ended_here = [line["job"] for line in second.lines("job")]
    ended_there = [line["job"] for line in first.lines("job")]
    assert len({*ended_here, *ended_there}) == len(ended_here) + len(ended_there)
    assert ended_here
    assert ended_there
