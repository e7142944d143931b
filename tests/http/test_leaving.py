"""Clients that leave, and a server that stops."""

import asyncio
import contextlib
import gc
import socket
import threading
import time
from pathlib import Path

import pytest
from edge_bench import FILE, Bench, build, connected, eventually, form, head, read_response, serving

from server.http.client_address import ClientAddress
from server.http.cors import Cors
from server.http.middleware import Edge
from server.http.parts import Receive, Scope, Send

BODY = form(FILE)
UPLOAD = head(Content_Length=str(len(BODY))) + BODY


def descriptors() -> int:
    """Open files of this process, sockets left out: they close in their own time."""
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(str(descriptor.readlink()))
    return len([link for link in links if not link.startswith("socket:")])


def test_a_client_that_leaves_cancels_its_work(bench: Bench) -> None:
    """n8n's timeout closes the socket: the engine's time goes to others at once."""
    bench.transcriber.hold = True
    with serving(bench) as (port, _):
        with connected(port) as client:
            client.sendall(UPLOAD)
            assert bench.transcriber.started.wait(5)
            assert 1 == bench.admission.active

        assert bench.transcriber.cancelled.wait(5)
        assert eventually(lambda: bench.lines() != [])
        assert 0 == bench.admission.active
    (line,) = bench.lines()
    assert (499, "client_disconnected", True) == (
        line["status"],
        line["error"],
        line["client_disconnected"],
    )
    assert [] == bench.lines("fault") + bench.lines("library")


@pytest.mark.parametrize("more", [0, 200_000])
def test_a_client_that_leaves_while_it_waits_is_forgotten(bench: Bench, more: int) -> None:
    """Nobody reads its body yet, nor from its connection, but its end is seen."""
    bench = build(bench.settings.spool_dir, max_requests=1, max_queue_wait=60)
    bench.transcriber.hold = True
    with serving(bench) as (port, _):
        with connected(port) as inside:
            inside.sendall(UPLOAD)
            assert bench.transcriber.started.wait(5)
            with connected(port) as client:
                client.sendall(head(Content_Length=str(len(BODY) + more)) + BODY + bytes(more))
                assert eventually(lambda: bench.admission.waiting == 1)
            assert eventually(lambda: bench.admission.waiting == 0)
            assert eventually(lambda: len(bench.lines()) == 1)
            assert 1 == bench.admission.active
        assert eventually(lambda: bench.admission.active == 0)
        assert eventually(lambda: len(bench.lines()) == 2)
    assert [499, 499] == [line["status"] for line in bench.lines()]
    assert [] == bench.lines("fault") + bench.lines("library")


def test_a_body_may_end_after_its_form(bench: Bench) -> None:
    """What follows the form, and the last chunk, are read; from then on the client is watched."""
    bench.transcriber.hold = True
    body = form(FILE) + bytes(300_000)
    with serving(bench) as (port, _):
        with connected(port) as client:
            client.sendall(head(Transfer_Encoding="chunked"))
            client.sendall(b"%x\r\n%b\r\n" % (len(body), body))
            time.sleep(0.1)
            client.sendall(b"0\r\n\r\n")
            assert bench.transcriber.started.wait(5)

        assert bench.transcriber.cancelled.wait(5)


def test_work_after_the_answer_is_done(bench: Bench) -> None:
    """Once the answer is complete, the server's word for it cuts nothing off."""
    answered = asyncio.Event()
    done = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b""})
        answered.set()
        await asyncio.sleep(0.1)
        done.append(True)

    async def scenario() -> None:
        messages = [{"type": "http.request"}]

        async def receive() -> dict[str, object]:
            if messages:
                return messages.pop()
            await answered.wait()
            return {"type": "http.disconnect"}

        async def send(_message: object) -> None:
            pass

        gate, limits = bench.app._gate, bench.app._limits
        addresses, clock = ClientAddress(()), time.monotonic
        edge = Edge(
            app,
            gate,
            limits,
            Cors(()),
            addresses,
            new_id=lambda: "req_1",
            clock=clock,
            on_done=print,
        )
        await edge({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)

    asyncio.run(scenario())
    assert [True] == done
    assert (200, False) == (bench.lines()[0]["status"], bench.lines()[0]["client_disconnected"])


@pytest.mark.parametrize("sent", [0, 1, 60, len(BODY) - 3])
def test_a_client_that_leaves_while_uploading_frees_all(bench: Bench, sent: int) -> None:
    """Half a body never looks like a whole one."""
    with serving(bench) as (port, _):
        with connected(port) as client:
            client.sendall(head(Content_Length=str(len(BODY))) + BODY[:sent])
            time.sleep(0.1)

        assert eventually(lambda: bench.lines() != [])
        assert 0 == bench.admission.active
    assert [499] == [line["status"] for line in bench.lines()]
    assert [] == bench.loader.uploads
    assert [] == bench.lines("fault") + bench.lines("library")


def test_nothing_stays_open(bench: Bench) -> None:
    """Descriptors after twenty cut uploads and twenty cancelled transcriptions are as before."""
    bench.transcriber.hold = True
    with serving(bench) as (port, _):
        with connected(port) as client:
            client.sendall(head("GET", "/v1/models"))
            read_response(client)
        before = descriptors()
        for number in range(40):
            with connected(port) as client:
                client.sendall(UPLOAD[: -10 if number % 2 else None])
                if number % 2:
                    time.sleep(0.01)
                else:
                    assert bench.transcriber.started.wait(5)
                    bench.transcriber.started.clear()
        assert eventually(lambda: len(bench.lines()) == 41)
        gc.collect()

        assert descriptors() <= before + 3  # the spool's other writer threads need none
        assert 0 == bench.admission.active


def test_a_refused_client_that_leaves_is_let_go(bench: Bench) -> None:
    """Reading a refused upload on ends with its client."""
    with serving(bench) as (port, _):
        with connected(port) as client:
            client.sendall(head(Content_Length="1000", Authorization="Bearer no"))
            time.sleep(0.1)

        assert eventually(lambda: bench.lines() != [])
    assert [True] == [line["client_disconnected"] for line in bench.lines()]


def test_an_answered_request_is_no_disconnect(bench: Bench) -> None:
    """The server reports its own end of a request in the same words."""
    with serving(bench) as (port, _):
        for connection in ("close", "keep-alive"):
            with connected(port) as client:
                client.sendall(head(Connection=connection, Content_Length=str(len(BODY))) + BODY)
                assert 200 == read_response(client)[0]
        assert eventually(lambda: len(bench.lines()) == 2)

    assert [(200, False)] * 2 == [(x["status"], x["client_disconnected"]) for x in bench.lines()]


def test_a_running_request_is_answered_while_the_server_stops(bench: Bench) -> None:
    """Draining: what runs may end; new connections are refused."""
    bench.transcriber.hold = True
    with serving(bench) as (port, listener), connected(port) as client:
        client.sendall(UPLOAD)
        assert bench.transcriber.started.wait(5)
        listener.should_exit = True
        assert eventually(lambda: not listens(port))
        bench.transcriber.hold = False

        assert 200 == read_response(client)[0]


def test_what_does_not_end_in_time_is_cancelled_with_a_503(tmp_path: Path) -> None:
    """The client is told to come again, not cut off."""
    bench = build(tmp_path, drain_timeout=0.3)
    bench.transcriber.hold = True
    with serving(bench) as (port, listener), connected(port) as client:
        client.sendall(UPLOAD)
        assert bench.transcriber.started.wait(5)
        listener.should_exit = True
        status, _, body = read_response(client)

        assert 503 == status
        assert b'"code": "draining"' in body
        assert bench.transcriber.cancelled.wait(1)
    assert [503] == [line["status"] for line in bench.lines()]


def test_an_upload_under_way_is_cancelled_with_a_503(tmp_path: Path) -> None:
    """A slow upload does not hold the stop up, nor is it read on."""
    bench = build(tmp_path, drain_timeout=0.3)
    with serving(bench) as (port, listener), connected(port) as client:
        client.sendall(head(Content_Length=str(len(BODY))) + BODY[:50])
        assert eventually(lambda: bench.admission.active == 1)
        started = time.monotonic()
        listener.should_exit = True

        assert 503 == read_response(client)[0]
        assert time.monotonic() - started < 5


def listens(port: int) -> bool:
    """Whether anybody takes connections."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_the_loop_stays_free_while_a_disk_is_slow(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uploads are written by threads: a probe is answered meanwhile."""
    release = threading.Event()
    monkeypatch.setattr("server.http.spool._write_all", lambda _file, _batch: release.wait(5))
    with serving(bench) as (port, _), connected(port) as client, connected(port) as probe:
        client.sendall(UPLOAD)
        assert eventually(lambda: bench.admission.active == 1)
        probe.sendall(head("GET", "/healthz"))

        assert 200 == read_response(probe)[0]
        release.set()
        assert 200 == read_response(client)[0]


def test_a_cancelled_write_ends_before_its_file_is_closed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the descriptor's number could already belong to another file."""
    closed_meanwhile: list[bool] = []
    writing = threading.Event()

    def slow_write(file: object, _batch: object) -> None:
        writing.set()
        time.sleep(0.3)
        closed_meanwhile.append(file.closed)  # type: ignore[attr-defined]

    monkeypatch.setattr("server.http.spool._write_all", slow_write)
    with serving(bench) as (port, _):
        with connected(port) as client:
            client.sendall(UPLOAD)
            assert writing.wait(5)
        assert eventually(lambda: bench.lines() != [])

    assert [False] == closed_meanwhile


def test_a_request_cancelled_twice_still_ends(bench: Bench) -> None:
    """Asyncio cancels what is left when its loop ends, whatever we are doing then."""

    async def scenario() -> None:
        async def receive() -> dict[str, object]:
            await asyncio.sleep(3600)
            return {}

        async def send(_message: object) -> None:
            await asyncio.sleep(3600)

        headers = [(b"authorization", b"Bearer x")]
        scope = {"type": "http", "method": "GET", "path": "/v1/models", "headers": headers}
        task = asyncio.create_task(bench.app(scope, receive, send))
        for _ in range(2):
            await asyncio.sleep(0.05)
            task.cancel()
        await asyncio.wait([task], timeout=2)
        assert task.done()

    asyncio.run(scenario())
    assert 1 == len(bench.lines())
