"""Real servers that are asked the same again: at once, after a restart, after a kill."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest
from postgres_server import PostgresServer
from server_process import Process, Start, launcher, noise

ROUTE = "/v1/audio/transcriptions"
AUDIO = noise(40.0, pauses=(20,))
COMMON = {"FAKE_WORDS": "1", "SUSSURRO_JOB_LEASE": "1", "SUSSURRO_DRAIN_GRACE": "0"}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers that share a folder."""
    with launcher(tmp_path) as launch:

        def sharing(**environ: str) -> Process:
            places = {
                "SUSSURRO_JOBS_DIR": str(tmp_path / "jobs"),
                "SUSSURRO_USAGE_DB": str(tmp_path / "usage.sqlite3"),
            }
            return launch(**{**COMMON, **places, **environ})

        yield sharing


def ask(client: httpx.Client, key: str = "k", audio: bytes = AUDIO, **form: str) -> httpx.Response:
    """A recording."""
    fields = {"language": "pt", **form}
    headers = {"Idempotency-Key": key}
    return client.post(ROUTE, files={"file": ("n.wav", audio)}, data=fields, headers=headers)


def used(client: httpx.Client) -> int:
    """Transcriptions that were counted."""
    return sum(day["requests"] for day in client.get("/v1/usage").json()["data"])


def until_answered(client: httpx.Client) -> httpx.Response:
    """As a client that heeds Retry-After, only faster."""
    end = time.monotonic() + 20
    while (response := ask(client)).status_code == 409 and time.monotonic() < end:
        time.sleep(0.1)
    return response


def test_fifty_at_once_give_one_job(start: Start, postgres: PostgresServer) -> None:
    """On two servers that share a PostgreSQL; whoever is told to wait gets that job later."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE repeated")
    url = postgres.url("repeated")
    servers = [start(SUSSURRO_DATABASE_URL=url).ready() for _ in range(2)]
    with servers[0].client() as one, servers[1].client() as two, ThreadPoolExecutor(50) as pool:
        clients = [(one, two)[number % 2] for number in range(50)]
        found = list(pool.map(lambda c: ask(c, audio=noise(4.0), background="true"), clients))
        later = ask(two, audio=noise(4.0), background="true")
        other = ask(one, background="true")
        jobs = one.get("/v1/jobs").json()["data"]

    accepted = [response for response in found if response.status_code == 202]
    assert {202, 409} >= {response.status_code for response in found}
    assert {later.headers["location"]} == {each.headers["location"] for each in accepted}
    assert 1 == sum("idempotent-replayed" not in each.headers for each in accepted)
    assert (202, "true") == (later.status_code, later.headers["idempotent-replayed"])
    assert (409, "idempotency_key_reused") == (other.status_code, other.json()["error"]["code"])
    assert 1 == len(jobs)


def test_answers_outlive_a_restart(start: Start) -> None:
    """Also one that was streamed; nothing is computed or counted again."""
    first = start().ready()
    with first.client() as client:
        before = [ask(client), ask(client, "k2", stream="true")]
    assert 0 == first.stop()
    second = start().ready()
    with second.client() as client:
        after = [ask(client), ask(client, "k2", stream="true")]
        counted = used(client)

    assert [each.content for each in before] == [each.content for each in after]
    assert [200] * 4 == [each.status_code for each in before + after]
    assert ["true"] * 2 == [each.headers["idempotent-replayed"] for each in after]
    assert 2 == counted


def test_a_killed_server_leaves_no_key_behind(start: Start, tmp_path: Path) -> None:
    """Once its lease is over, the same request is answered, and counted once."""
    hold, begun = tmp_path / "hold", tmp_path / "begun"
    first = start(FAKE_HOLD=str(hold), FAKE_BEGUN=str(begun)).ready()
    begun.unlink(missing_ok=True)  # its model was warmed
    hold.touch()
    with first.client() as client, ThreadPoolExecutor(1) as pool:
        lost = pool.submit(ask, client)
        end = time.monotonic() + 20
        while not begun.exists() and time.monotonic() < end:
            time.sleep(0.02)
        busy = ask(client)
        first.popen.kill()
        with pytest.raises(httpx.TransportError):
            lost.result()
    second = start().ready()
    with second.client() as client:
        answered = until_answered(client)
        again = ask(client)
        counted = used(client)

    assert (409, "idempotency_key_in_use") == (busy.status_code, busy.json()["error"]["code"])
    assert 200 == answered.status_code
    assert "idempotent-replayed" not in answered.headers
    assert answered.content == again.content
    assert 1 == counted


def test_a_client_that_left_pays_once(start: Start, tmp_path: Path) -> None:
    """It gave up waiting, and asks again with the same key."""
    hold = tmp_path / "hold"
    server = start(FAKE_HOLD=str(hold), SUSSURRO_AUDIO_MINUTES_PER_DAY="1").ready()
    hold.touch()
    with server.client() as client:
        client.timeout = 2.0
        with pytest.raises(httpx.ReadTimeout):
            ask(client)
        client.timeout = 30.0
        hold.unlink()
        answered = until_answered(client)
        other = ask(client, "k2")

    assert 200 == answered.status_code
    assert (429, "insufficient_quota") == (other.status_code, other.json()["error"]["code"])
