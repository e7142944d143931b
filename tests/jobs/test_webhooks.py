"""Real servers tell a real receiver that jobs have ended."""

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from postgres_server import PostgresServer
from pydantic import SecretStr
from receiver import Receiver, receiving
from server_process import KEY, ROOT, Process, Start, launcher
from standardwebhooks import Webhook
from test_servers import SHORT, ended, post, submit, until

from server.access.access import Access
from server.access.callers import Callers
from server.access.keys import Keyring
from server.jobs.database import DatabaseError
from server.jobs.jobs import Jobs
from server.settings import Settings
from server.webhooks.events import parse_secrets, secret_of

SECRET = "whsec_" + "c3Vzc3Vycm8" * 4
HOOK = Webhook(secret_of(parse_secrets(SECRET)[0], "e2e"))


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, str]:
    """What servers that follow one another share."""
    return {
        "SUSSURRO_JOBS_DIR": str(tmp_path / "jobs"),
        "SUSSURRO_WEBHOOK_SECRET": SECRET,
        "SUSSURRO_WEBHOOK_ALLOW": "127.0.0.1",
        "SUSSURRO_DRAIN_GRACE": "0",
    }


@pytest.fixture
def start(tmp_path: Path, kept: dict[str, str]) -> Iterator[Start]:
    """Start servers with webhooks."""
    with launcher(tmp_path) as launch:

        def with_webhooks(**environ: str) -> Process:
            return launch(**{"FAKE_WORDS": "1", **kept, **environ})

        yield with_webhooks


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """On loopback."""
    with receiving() as found:
        yield found


def arrived(receiver: Receiver, count: int = 1, within: float = 30.0) -> list[dict[str, Any]]:
    """The events, checked as a receiver would, once there are so many."""
    end = time.monotonic() + within
    while len(receiver.came) < count:
        assert time.monotonic() < end, receiver.came
        time.sleep(0.02)
    return [
        HOOK.verify(body, headers) | {"id": headers["webhook-id"]}
        for headers, body in receiver.came
    ]


def test_the_end_of_a_job_is_told(start: Start, receiver: Receiver) -> None:
    """With the job as its owner sees it, and its text; the log has no URL."""
    server = start().ready()
    with server.client() as client:
        answer = post(client, SHORT, background="true", webhook_url=receiver.url + "?token=secret")
        assert 202 == answer.status_code, answer.text
        path = answer.headers["location"]
        (event,) = arrived(receiver)
        job = until(client, path, ended)
        text = client.get(path + "/transcript").json()["text"]
    line = server.line("webhook")

    assert "job.succeeded" == event["type"]
    assert job | {"text": text} == event["data"]
    assert (event["id"], "delivered", "200", 1) == (
        line["webhook"],
        line["state"],
        line["outcome"],
        line["attempts"],
    )
    assert "token" not in server.stdout
    assert 0 == server.stop()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"webhook_url": "https://a.example/"}, "background=true"),
        ({"webhook_url": "https://10.0.0.1/", "background": "1"}, "inside a network"),
        ({"webhook_url": "http://a.example/", "background": "1"}, "https://"),
        ({"webhook_url": "https://a@a.example/", "background": "1"}, "user name"),
        ({"webhook_url": "a.example", "background": "1"}, "no URL"),
        ({"webhook_url": "https://a.example/" + "x" * 2_048, "background": "1"}, "webhook_url"),
    ],
)
def test_what_cannot_be_told_is_refused(
    shared: httpx.Client, fields: dict[str, str], words: str
) -> None:
    """Before the job is taken, with the reason."""
    answer = post(shared, SHORT, **fields)
    error = answer.json()["error"]
    assert (400, "webhook_url") == (answer.status_code, error["param"])
    assert words in error["message"]
    assert [] == shared.get("/v1/jobs").json()["data"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server for what is refused."""
    folder = tmp_path_factory.mktemp("shared")
    with launcher(folder) as launch:
        server = launch(
            SUSSURRO_JOBS_DIR=str(folder / "jobs"), SUSSURRO_WEBHOOK_SECRET=SECRET
        ).ready()
        with server.client() as client:
            yield client


def test_without_a_secret_nothing_is_taken(start: Start) -> None:
    """Nobody could know who calls."""
    server = start(SUSSURRO_WEBHOOK_SECRET="").ready()
    with server.client() as client:
        answer = post(client, SHORT, background="1", webhook_url="https://a.example/")
    assert 400 == answer.status_code
    assert "SUSSURRO_WEBHOOK_SECRET" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"webhook_secret": SecretStr("whsec_short")}, "WEBHOOK_SECRET is not whsec_"),
        ({"webhook_urls": ("e2e=http://a.example/",)}, "WEBHOOK_URLS: a URL is refused"),
        ({"webhook_urls": ("https://a.example/",)}, "WEBHOOK_URLS: "),
        ({"webhook_urls": ("a=https://a.example/", "a=https://b.example/")}, "WEBHOOK_URLS: not"),
        ({"webhook_urls": ("a=https://a.example/",), "webhook_secret": SecretStr("")}, "needs"),
    ],
)
def test_wrong_settings_stop_the_start(tmp_path: Path, wrong: dict[str, Any], words: str) -> None:
    """With their name, and nothing of their value."""
    settings = Settings(jobs_dir=tmp_path, **{"webhook_secret": SecretStr(SECRET), **wrong})
    access = Access.open(settings, Callers(Keyring.parse(KEY.record, today=date.today)))
    with pytest.raises(DatabaseError, match=words) as caught:
        Jobs(settings, access, {})
    assert not re.search("example|short", str(caught.value))


def test_all_jobs_of_a_caller_may_have_one_place(start: Start, receiver: Receiver) -> None:
    """A request's own goes before it."""
    with receiving() as other:
        server = start(SUSSURRO_WEBHOOK_URLS=f"somebody={other.url},e2e={receiver.url}").ready()
        with server.client() as client:
            path = submit(client, SHORT)
            (event,) = arrived(receiver)
            assert path.endswith(event["data"]["id"])
            post(client, SHORT, background="1", webhook_url=other.url)
            arrived(other)
        assert 1 == len(receiver.came)


def test_a_receiver_that_was_away_is_told_later(start: Start, receiver: Receiver) -> None:
    """Under the same id, also when the server was killed meanwhile."""
    receiver.status = 503
    server = start().ready()
    with server.client() as client:
        post(client, SHORT, background="1", webhook_url=receiver.url)
    arrived(receiver)
    server.line("webhook")
    server.popen.kill()
    receiver.status = 200
    second = start().ready()
    first, again = arrived(receiver, 2)

    assert first == again
    assert ("delivered", 2) == (second.line("webhook")["state"], second.line("webhook")["attempts"])
    assert 0 == second.stop()


def test_a_stop_lets_go_of_what_is_being_sent(start: Start, receiver: Receiver) -> None:
    """The next server need not wait until its time is over."""
    receiver.instead = lambda _: time.sleep(20)
    server = start().ready()
    with server.client() as client:
        post(client, SHORT, background="1", webhook_url=receiver.url)
        arrived(receiver)
        assert 0 == server.stop()
    receiver.instead = None
    second = start().ready()
    first, again = arrived(receiver, 2)
    assert first == again
    assert 1 == second.line("webhook")["attempts"]


def test_servers_share_the_telling(
    start: Start, receiver: Receiver, postgres: PostgresServer
) -> None:
    """Each end is told once, whichever server took the job, ran it, or tells it."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE telling")
    url = {"SUSSURRO_DATABASE_URL": postgres.url("telling")}
    servers = [start(**url), start(**url)]
    paths = []
    for server in servers:
        with server.ready().client() as client:
            for _ in range(10):
                answer = post(client, SHORT, background="1", webhook_url=receiver.url)
                paths.append(answer.headers["location"])
    events = arrived(receiver, 20)
    time.sleep(0.5)

    assert sorted(path.rpartition("/")[2] for path in paths) == sorted(
        event["data"]["id"] for event in events
    )
    assert {1} == set(Counter(event["id"] for event in events).values())
    assert 20 == len(receiver.came)
    assert all(0 == server.stop() for server in servers)


def ops(environ: dict[str, str]) -> Callable[..., str]:
    """`ops webhooks` with a server's settings."""

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "ops", "webhooks", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
        )
        assert 0 == done.returncode, done.stderr
        return done.stdout

    return run


def test_the_operator_sends_again_what_was_given_up(
    start: Start, receiver: Receiver, kept: dict[str, str]
) -> None:
    """410 ends it at once; the list has it until it is delivered; metrics count it."""
    receiver.status = 410
    webhooks = ops(kept)
    server = start().ready()
    with server.client() as client:
        post(client, SHORT, background="1", webhook_url=receiver.url)
        arrived(receiver)
        assert "dead" == server.line("webhook")["state"]
        (row,) = json.loads(webhooks("list", "--json"))
        assert (receiver.url, "410", 1) == (row["url"], row["outcome"], row["attempts"])
        receiver.status = 200
        assert "1 will be sent again\n" == webhooks("resend", row["id"])
        first, again = arrived(receiver, 2)
        assert first == again
        while json.loads(webhooks("list", "--json")):
            time.sleep(0.1)
        (row,) = json.loads(webhooks("list", "--json", "--state", "delivered"))
        assert "200" == row["outcome"]
    assert HOOK._whsecret == Webhook(webhooks("secret", "e2e").strip())._whsecret
    assert parse_secrets(webhooks("keygen"))
