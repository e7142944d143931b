"""SIGTERM while answers are under way, some of them begun: nobody is left without an end."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from server_process import KEY, Process, Start, noise

LONG = noise(56.0, (28.0,))
"""Two spans, and several windows: the engine says little, so pauses are looked at again."""

EARLY = {"SUSSURRO_KEEPALIVE_AFTER": "0.1", "SUSSURRO_KEEPALIVE_INTERVAL": "0.1"}


@contextmanager
def asking(server: Process, **fields: str) -> Iterator[socket.socket]:
    """A transcription that has been sent; its answer comes on the socket."""
    request = httpx.Request(
        "POST",
        server.url + "/v1/audio/transcriptions",
        files={"file": ("n.wav", LONG)},
        data={"language": "pt", **fields},
        headers={"Authorization": f"Bearer {KEY.key}", "Connection": "close"},
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection((request.url.host, request.url.port or 80), timeout=30) as client:
        client.sendall(b"POST /v1/audio/transcriptions HTTP/1.1\r\n" + head.encode() + b"\r\n")
        client.sendall(request.read())
        yield client


def rest(client: socket.socket, until: bytes = b"never") -> bytes:
    """What comes, to the end or up to something."""
    data = b""
    while until not in data and (piece := client.recv(65536)):
        data += piece
    return data


def events(data: bytes) -> list[dict[str, object]]:
    """The events in a raw answer."""
    return [json.loads(line[6:]) for line in data.splitlines() if line.startswith(b"data: ")]


def test_begun_answers_end_as_they_should_while_the_server_drains(start: Start) -> None:
    """A stream to its last event, JSON after its white space; then exit code 0."""
    server = start(FAKE_WINDOW_SECONDS="0.3", SUSSURRO_DRAIN_GRACE="0.2", **EARLY).ready()
    with asking(server, stream="true") as stream, asking(server) as waiting:
        told = rest(stream, until=b"Bom dia.")
        begun = rest(waiting, until=b" \n")
        server.popen.send_signal(signal.SIGTERM)
        told += rest(stream)
        begun += rest(waiting)

    assert told.startswith(b"HTTP/1.1 200 ")
    assert told.endswith(b"\r\n0\r\n\r\n")
    *deltas, done = events(told)
    assert 2 <= len(deltas)
    assert {"transcript.text.delta"} == {event["type"] for event in deltas}
    text = "".join(str(event["delta"]) for event in deltas)
    assert ("transcript.text.done", text) == (done["type"], done["text"])
    assert begun.endswith(b"\r\n0\r\n\r\n")
    assert f'"text":"{text}"'.encode() in begun
    assert 0 == server.exit_code()
    assert [200, 200] == [line["status"] for line in server.lines("request")]
    assert [] == server.lines("fault") + server.lines("library")


@pytest.mark.parametrize("signals", [1, 2])
def test_what_cannot_end_in_time_is_told_so(start: Start, signals: int) -> None:
    """503, an error event, or a cut connection; at once after a second signal."""
    server = start(
        FAKE_WINDOW_SECONDS="3",
        SUSSURRO_DRAIN_GRACE="0.2",
        SUSSURRO_DRAIN_TIMEOUT="1.5" if signals == 1 else "60",
        SUSSURRO_KEEPALIVE_AFTER="0.5",
        SUSSURRO_KEEPALIVE_INTERVAL="0.1",
    ).ready()
    with (
        asking(server, stream="true") as stream,
        asking(server) as begun,
        asking(server, response_format="srt") as silent,
    ):
        told, white = rest(stream, until=b": keep-alive"), rest(begun, until=b" \n")
        started = time.monotonic()
        for number in range(signals):
            server.popen.send_signal(signal.SIGTERM)
            if not number:
                server.line("draining")
                time.sleep(0.4)  # the grace is over: requests are being waited for
        told += rest(stream)
        white += rest(begun)
        refused = rest(silent)

    assert 0 == server.exit_code(within=10)
    assert time.monotonic() - started < 6
    assert told.endswith(b"\r\n0\r\n\r\n")
    assert ["draining"] == [event["error"]["code"] for event in events(told)]  # type: ignore[index]
    assert not white.partition(b"\r\n\r\n")[2].strip(b"\r\n2 ")
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b'"code": "draining"' in refused
    assert [503] * 3 == [line["status"] for line in server.lines("request")]
    assert ["draining"] * 3 == [line["error"] for line in server.lines("request")]
    assert [] == server.lines("fault")
    assert "" == server.stderr


def test_a_second_signal_during_the_grace_ends_at_once_too(start: Start) -> None:
    """Before any connection was closed."""
    server = start(FAKE_WINDOW_SECONDS="3", SUSSURRO_DRAIN_GRACE="60").ready()
    with asking(server) as client:
        wait_for_work(server)
        server.popen.send_signal(signal.SIGTERM)
        server.line("draining")
        started = time.monotonic()
        server.popen.send_signal(signal.SIGTERM)
        assert rest(client).startswith(b"HTTP/1.1 503 ")

    assert 0 == server.exit_code(within=10)
    assert time.monotonic() - started < 4


def test_work_that_comes_in_the_grace_is_done(start: Start) -> None:
    """A proxy asks every second whether to send more; what it sends until then gets its answer."""
    server = start(SUSSURRO_DRAIN_GRACE="3").ready()
    server.popen.send_signal(signal.SIGTERM)
    server.line("draining")
    with asking(server) as client:
        assert rest(client).startswith(b"HTTP/1.1 200 ")

    assert 0 == server.exit_code(within=10)


def wait_for_work(server: Process) -> None:
    """Until what was sent has surely been taken up."""
    time.sleep(0.7)
    with server.client() as client:
        assert 200 == client.get("/healthz").status_code


@pytest.mark.model
def test_a_second_signal_ends_a_working_model(
    start: Start, weights_dir: Path, tmp_path: Path
) -> None:
    """Native threads that compute neither hold the end up nor make it crash."""
    server = start("-m", "server", SUSSURRO_WEIGHTS_DIR=str(weights_dir)).ready()
    with ExitStack() as stack:
        clients = [stack.enter_context(asking(server, stream="true")) for _ in range(3)]
        wait_for_work(server)
        server.popen.send_signal(signal.SIGTERM)
        server.line("draining")
        started = time.monotonic()
        server.popen.send_signal(signal.SIGTERM)
        ends = [rest(client) for client in clients]

    assert 0 == server.exit_code(within=10)
    assert time.monotonic() - started < 5
    assert all(b'"code": "draining"' in end for end in ends)
    assert "" == server.stderr
