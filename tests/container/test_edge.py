"""Behind a real Traefik with TLS: routes as Coolify makes them, and two servers as one."""

import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import pytest
from outside_world import OutsideWorld
from stack import (
    CLIP,
    COOLIFY_HOST,
    HOST,
    KEY,
    MEASURED,
    ROOT,
    Stack,
    through,
    transcribe,
    wait_for,
)
from test_hardened import REACH

from server.access.keys import new_key

REQUESTS = 300
CALLERS = 4
SHORT_CLIP = ROOT / "tests" / "audio" / "en-river.ogg"
SLOW_SECONDS = 66.0
"""Longer than Traefik's own limit for reading a request, 60 s."""


LIMIT = 6
LIMITED = new_key("limited", limits=[f"requests_per_minute={LIMIT}"])


@pytest.fixture(scope="module")
def servers(stack: Stack) -> Iterator[list[str]]:
    """Two servers, Redis and the proxy, with Coolify's labels beside our own."""
    stack.configure(f"{KEY.record} {LIMITED.record}")
    with stack.up("compose.yaml", "compose.replicas.yaml", "coolify.yaml"):
        names = stack.servers()
        assert 2 == len(names)
        yield names


@pytest.mark.parametrize("host", [HOST, COOLIFY_HOST])
def test_speech_goes_through_tls(servers: list[str], tls: ssl.SSLContext, host: str) -> None:
    """By our own labels and by those that Coolify makes."""
    with through(tls, host) as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, "the proxy knows a server")
        response = transcribe(client)
    assert 200 == response.status_code, response.text
    assert "speech into text" in response.json()["text"]


def test_a_limit_is_one_for_both_servers(
    stack: Stack, servers: list[str], tls: ssl.SSLContext
) -> None:
    """No more requests pass than its key allows, wherever the proxy sends them; Redis counts them.

    How exactly is for tests/limits: here Redis may be too late for a server on a busy machine,
    which then keeps to its share.
    """
    (redis,) = stack.compose("ps", "--format", "{{.Name}}", "redis").split()

    def counted() -> list[str]:
        keys = stack.engine.docker("exec", redis, "redis-cli", "--raw", "keys", "*").stdout
        return [key for key in keys.split() if "limited" in key]

    with through(tls, HOST) as client:

        def ask() -> int:
            headers = {"Authorization": f"Bearer {LIMITED.key}"}
            return client.get("/v1/models", headers=headers).status_code

        codes = Counter(ask() for _ in range(3 * LIMIT))
        assert {200, 429} == set(codes)
        assert LIMIT >= codes[200]
        wait_for(lambda: bool(ask() and counted()), "Redis counts")
    asked = [any(line.get("key_id") == "limited" for line in stack.logs(name)) for name in servers]
    assert [True, True] == asked


def test_a_restart_of_redis_forgets_nothing(stack: Stack, servers: list[str]) -> None:
    """What it was told is there again, from the file in its volume."""
    (redis,) = stack.compose("ps", "--format", "{{.Name}}", "redis").split()
    client = ("exec", redis, "redis-cli", "--raw")
    assert "OK" == stack.engine.docker(*client, "set", "kept", "yes").stdout.strip()
    stack.engine.docker("restart", "--time=10", redis)
    wait_for(
        lambda: stack.engine.docker(*client, "get", "kept", check=False).stdout.strip() == "yes",
        "Redis has it",
    )


def test_an_unknown_name_reaches_no_server(servers: list[str], tls: ssl.SSLContext) -> None:
    """The proxy answers by itself."""
    with through(tls, "other.test") as client:
        assert 404 == client.get("/readyz").status_code


def test_events_come_one_by_one(servers: list[str], tls: ssl.SSLContext) -> None:
    """Also through the compression that Coolify puts in front."""
    with (
        through(tls, COOLIFY_HOST) as client,
        client.stream(
            "POST",
            "/v1/audio/transcriptions",
            headers={"Authorization": f"Bearer {KEY.key}", "accept-encoding": "gzip"},
            files={"file": (CLIP.name, CLIP.read_bytes())},
            data={"model": "whisper-1", "stream": "true"},
        ) as response,
    ):
        events = [line for line in response.iter_lines() if line.startswith("data: ")]
    assert 200 == response.status_code
    assert "transcript.text.done" in events[-1]


def slow_upload(client: httpx.Client, seconds: float) -> int | str:
    """Send a clip so that it takes that long; the status, or how the connection ended."""
    boundary = b"slow"
    head = b'--slow\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n'
    body = b"".join(
        [
            head % (b"model", b"") + b"whisper-1\r\n",
            head % (b"file", b'; filename="a.ogg"') + CLIP.read_bytes(),
            b"\r\n--slow--\r\n",
        ]
    )
    steps = 60
    size = -(-len(body) // steps)

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]
            time.sleep(seconds / steps)

    try:
        return client.post(
            "/v1/audio/transcriptions",
            headers={
                "Authorization": f"Bearer {KEY.key}",
                "content-type": f"multipart/form-data; boundary={boundary.decode()}",
                "content-length": str(len(body)),
            },
            content=pieces(),
        ).status_code
    except httpx.TransportError as error:
        return type(error).__name__


def test_only_the_one_setting_keeps_slow_uploads_alive(
    servers: list[str], tls: ssl.SSLContext
) -> None:
    """Coolify's Traefik cuts at 60 s; with readTimeout raised, the answer arrives."""
    with (
        ThreadPoolExecutor(2) as pool,
        through(tls, COOLIFY_HOST) as cured,
        through(tls, COOLIFY_HOST, port=8444) as uncured,
    ):
        well, cut = (pool.submit(slow_upload, client, SLOW_SECONDS) for client in (cured, uncured))
        MEASURED[f"uploads of {SLOW_SECONDS:.0f} s"] = (
            f"with readTimeout raised {well.result()}, without {cut.result()}"
        )
        assert 200 == well.result()
        assert 200 != cut.result()


@dataclass
class Load:
    """Callers that ask all the time, and what they were told."""

    context: ssl.SSLContext
    answers: Counter[str] = field(default_factory=Counter)
    servers: Counter[str] = field(default_factory=Counter)

    def run(self, enough: int, done: threading.Event) -> None:
        """Ask until `done`, and at least `enough` times over all callers."""
        with through(self.context, HOST) as client:
            while not (done.is_set() and self.answers.total() >= enough):
                try:
                    response = transcribe(client, clip=SHORT_CLIP)
                    answer = str(response.status_code)
                    kind = response.headers.get("content-type", "")
                    if response.status_code != 200 and "application/json" in kind:
                        answer += " " + response.json()["error"]["code"]
                    if response.status_code == 200 and not response.json()["text"]:
                        answer = "200 without text"
                except httpx.TransportError as error:
                    answer = type(error).__name__
                self.answers[answer] += 1

    def wait_for_more(self, count: int) -> None:
        """Until so many more were answered."""
        goal = self.answers.total() + count
        wait_for(lambda: self.answers.total() >= goal, f"{count} more answers", within=300)


def test_no_request_fails_while_servers_are_stopped_and_replaced(
    stack: Stack, servers: list[str], tls: ssl.SSLContext
) -> None:
    """One stopped and started, the other removed and made anew, under load."""
    first, second = servers
    load, done = Load(tls), threading.Event()
    started = time.monotonic()
    with ThreadPoolExecutor(CALLERS) as pool:
        callers = [pool.submit(load.run, REQUESTS, done) for _ in range(CALLERS)]
        try:
            load.wait_for_more(60)
            stack.engine.docker("stop", "--time=50", first)
            assert 0 == stack.state(first)["ExitCode"]
            load.wait_for_more(40)
            stack.engine.docker("start", first)
            stack.wait_until_healthy(first)
            load.wait_for_more(40)
            old = stack.engine.inspect(second)["Id"]
            stack.engine.docker("stop", "--time=50", second)
            stack.engine.docker("rm", second)
            load.wait_for_more(40)
            stack.compose("up", "--detach", "--no-build", "--no-recreate", "--pull", "never")
            (new,) = set(stack.servers()) - {first}
            stack.wait_until_healthy(new)
            assert old != stack.engine.inspect(new)["Id"]
            load.wait_for_more(120)  # so that the new one's share tells something
        finally:
            done.set()
    for caller in callers:
        caller.result()
    MEASURED["one of two servers stopped, the other replaced"] = (
        f"{dict(load.answers)} in {time.monotonic() - started:.0f} s"
    )
    assert REQUESTS <= load.answers.total()
    assert {"200"} == set(load.answers)
    worked = [
        sum(line["event"] == "request" and line.get("audio_s", 0) > 0 for line in stack.logs(name))
        for name in (first, new)
    ]
    assert all(count > 20 for count in worked), worked


def test_replicas_reach_nobody(stack: Stack, servers: list[str], world: OutsideWorld) -> None:
    """On the shipped network alone, without Coolify's: no datagram leaves either."""
    stack.engine.docker("network", "disconnect", "sussurro_k8s4wk0c", servers[0])
    before = world.visitors()
    assert "no" == stack.python(servers[0], REACH).split()[0]
    time.sleep(0.5)
    assert before == world.visitors()
