"""Peers that are silent, slow or greedy, against a real server process."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from server_process import KEY, ROOT, Process, launcher, noise

SECONDS = 1.0
"""Every deadline of this server."""
CONNECTIONS = 40
GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One server for all tests of this file."""
    names = ("HEADER_TIMEOUT", "CONNECTION_IDLE_TIMEOUT", "STALL_TIMEOUT", "UPLOAD_IDLE_TIMEOUT")
    settings = {f"SUSSURRO_{name}": str(SECONDS) for name in names}
    settings |= {"SUSSURRO_DISCARD_TIMEOUT": str(SECONDS), "SUSSURRO_MIN_UPLOAD_RATE": "100000"}
    settings["SUSSURRO_FAILURES_PER_MINUTE"] = "10000"
    with launcher(tmp_path_factory.mktemp("server")) as launch:
        yield launch(**settings, SUSSURRO_MAX_CONNECTIONS=str(CONNECTIONS)).ready()


@contextlib.contextmanager
def connected(server: Process) -> Iterator[socket.socket]:
    """A raw connection."""
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        yield client


def end_of(client: socket.socket) -> float:
    """Seconds until the server ends the connection; what it says until then is thrown away."""
    started = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while client.recv(1 << 20):
            pass
    return time.monotonic() - started


def upload(key: str, length: int) -> bytes:
    """The head of an upload."""
    return (
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {length}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    ).encode()


@pytest.mark.parametrize(
    "sent",
    [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n", GET % b"/healthz", GET % b"/healthz" + b"GET /"],
    ids=["silence", "a byte", "half a head", "an answered request", "half a second head"],
)
def test_whoever_falls_silent_is_closed(server: Process, sent: bytes) -> None:
    """Before a request, within its head, and after it."""
    with connected(server) as client:
        client.sendall(sent)

        assert 0.5 * SECONDS < end_of(client) < 5 * SECONDS


def test_whoever_trickles_a_head_is_closed(server: Process) -> None:
    """A byte now and then is no progress: the deadline is for the whole head."""
    with connected(server) as client:
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in GET % (b"/" + b"x" * 200):
                client.sendall(bytes([byte]))
                time.sleep(SECONDS / 20)

        assert time.monotonic() - started < 5 * SECONDS


@pytest.mark.parametrize(("key", "status"), [(KEY.key, b"408"), ("wrong", b"401")])
def test_whoever_trickles_a_body_is_closed(server: Process, key: str, status: bytes) -> None:
    """Steadily, and never silent, but too slow: 408; a refused one is not read on for ever."""
    with connected(server) as client:
        client.sendall(upload(key, 10_000_000))
        started, answer = time.monotonic(), b""
        client.setblocking(False)
        while not answer and time.monotonic() - started < 10 * SECONDS:
            client.send(b"x" * 100)
            time.sleep(SECONDS / 20)
            with contextlib.suppress(BlockingIOError):
                answer = client.recv(1 << 16)

        assert answer.startswith(b"HTTP/1.1 " + status)
        assert time.monotonic() - started < 5 * SECONDS


def test_whoever_takes_no_answer_is_cut_off(server: Process) -> None:
    """It asks and asks, and never reads; the answers that wait for it are not kept for ever."""
    with connected(server) as client:
        client.sendall(GET % b"/openapi.json" * 400)
        time.sleep(3 * SECONDS)
        received = b""
        with contextlib.suppress(ConnectionError):
            while piece := client.recv(1 << 20):
                received += piece

        assert 0 < received.count(b"HTTP/1.1 200") < 400


def test_whoever_takes_its_answer_slowly_gets_it(server: Process) -> None:
    """A slow line is no stall, even if it takes longer than the deadline in all."""
    with connected(server) as client:
        client.sendall(GET % b"/openapi.json" * 200 + GET % b"/healthz")
        started, piece, received = time.monotonic(), b"", 0
        while not piece.endswith(b'{"status": "ok"}'):
            piece = client.recv(100_000)
            received += len(piece)
            assert piece, f"cut off after {received} bytes"
            if time.monotonic() - started < 3 * SECONDS:
                time.sleep(SECONDS / 4)


def test_a_crowd_does_not_keep_others_waiting(server: Process) -> None:
    """Three of four connections are idle or trickle, and whoever asks is answered each time."""
    kinds = (b"", b"GET /", upload("wrong", 1_000_000), upload(KEY.key, 1_000_000))
    with contextlib.ExitStack() as stack, server.client() as client:
        crowd = [stack.enter_context(connected(server)) for _ in range(3 * CONNECTIONS // 4)]
        for number, peer in enumerate(crowd):
            peer.sendall(kinds[number % len(kinds)])
        for _ in range(20):
            for peer in crowd:
                with contextlib.suppress(OSError):  # it has been closed, as it should be
                    peer.sendall(b"x")
            assert 200 == client.get("/v1/models").status_code
            recording = {"file": ("a.wav", noise(1.0))}
            answer = client.post(
                "/v1/audio/transcriptions", files=recording, data={"language": "pt"}
            )
            assert 200 == answer.status_code


def test_idle_connections_make_room(server: Process) -> None:
    """Beyond the bound the one that waited longest goes, and whoever asks is answered."""
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connected(server)) for _ in range(CONNECTIONS)]
        for _ in range(3):
            with server.client() as client:
                assert 200 == client.get("/v1/models").status_code

        idle[0].settimeout(SECONDS / 4)
        assert b"" == idle[0].recv(1)
        idle[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            idle[-1].recv(1)
    assert server.line("connections_full")["connections"] == CONNECTIONS


def test_connections_that_work_are_not_closed_for_new_ones(server: Process) -> None:
    """If all serve a request, the new one has to go, and can come back."""
    with contextlib.ExitStack() as stack:
        busy = [stack.enter_context(connected(server)) for _ in range(CONNECTIONS)]
        for client in busy:
            client.sendall(upload("wrong", 10_000))  # and a second to come with the body
        time.sleep(SECONDS / 4)
        late = stack.enter_context(connected(server))

        assert end_of(late) < SECONDS / 2
        assert {b"HTTP/1.1 401"} == {client.recv(12) for client in busy}


@pytest.mark.parametrize(
    ("soft", "hard", "expected"), [(400, 400, 144), (100, 1_000, 500), (20, 20, 8)]
)
def test_the_bound_fits_the_systems_own(soft: int, hard: int, expected: int) -> None:
    """A process takes all the descriptors that it may, and lowers the bound if they are few."""
    script = (
        "import resource\nfrom server.http.listener import connection_limits\n"
        "from server.settings import Settings\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "print(connection_limits(Settings(max_connections=500)).max_connections)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert str(expected) == done.stdout.splitlines()[-1]
    assert ("few_descriptors" in done.stdout) == (expected < 500)
