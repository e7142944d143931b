"""HTTP/1.1 on real sockets: framing, timeouts, refused uploads."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from edge_bench import (
    FILE,
    KEY,
    Bench,
    build,
    connected,
    eventually,
    form,
    head,
    read_response,
    serving,
)

from server.http.framing import MAX_HEAD_BYTES, MAX_HEADERS
from server.http.listener import listen

BODY = form(FILE)


@pytest.fixture
def port(bench: Bench) -> Iterator[int]:
    """The default application on a socket."""
    with serving(bench) as (port, _):
        yield port


def chunked(*pieces: bytes) -> bytes:
    """A chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (*pieces, b""))


def closes(client: socket.socket, within: float) -> bool:
    """Whether the server closes the connection without a word."""
    client.settimeout(within)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False


def test_a_plain_upload_is_answered(port: int) -> None:
    """The base case on a real socket, twice on one connection."""
    with connected(port) as client:
        for _ in range(2):
            client.sendall(head(Content_Length=str(len(BODY))) + BODY)
            status, headers, body = read_response(client)

            assert 200 == status
            assert b"mundo" in body
            assert "server" not in headers


def test_the_body_of_an_answer_waits_for_no_acknowledgement() -> None:
    """Head and body are sent apart; who keeps a connection acknowledges the head 40 ms late."""
    with (
        listen("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_chunked_upload_is_answered(port: int, bench: Bench) -> None:
    """JavaScript sends streams so: no length is known in advance."""
    with connected(port) as client:
        client.sendall(head(Transfer_Encoding="chunked"))
        client.sendall(chunked(BODY[:7], BODY[7:90], BODY[90:]))

        assert 200 == read_response(client)[0]
    assert [b"ID3 audio bytes"] == bench.loader.uploads


def test_a_client_that_asks_first_is_told_to_go_on(port: int) -> None:
    """Curl sends `Expect: 100-continue` before large bodies, and waits."""
    with connected(port) as client:
        client.sendall(head(Content_Length=str(len(BODY)), Expect="100-continue"))
        assert b"HTTP/1.1 100 " == client.recv(13)
        while client.recv(1) != b"\n":
            pass
        client.recv(2)
        client.sendall(BODY)

        assert 200 == read_response(client)[0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Authorization": "Bearer no"}, 401),
        ({"Content_Type": "audio/mpeg"}, 415),
        ({"Content_Length": str(1 << 40)}, 413),
        ({"path": "/v1/nope"}, 404),
    ],
)
def test_a_client_that_asks_first_is_refused_without_an_upload(
    port: int, bench: Bench, changes: dict[str, str], expected: int
) -> None:
    """No `100 Continue`: the final status comes at once, and the connection ends."""
    with connected(port) as client:
        client.sendall(head(**{"Content_Length": "1000000", "Expect": "100-continue", **changes}))
        status, headers, _ = read_response(client)

        assert (expected, "close") == (status, headers["connection"])
        assert closes(client, 2)
    assert eventually(lambda: bench.lines() != [])
    assert 0 == bench.lines()[0]["upload_bytes"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Authorization": "Bearer no"}, 401),
        ({"Content_Type": "audio/mpeg"}, 415),
        ({"path": "/v1/nope"}, 404),
        ({"method": "PUT"}, 405),
    ],
)
@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_a_refused_upload_is_read_to_its_end(
    port: int, changes: dict[str, str], expected: int, connection: str
) -> None:
    """A client that looks for the answer only after 20 MB finds it, not a reset."""
    upload = b"\0" * 20_000_000
    with connected(port) as client:
        client.sendall(
            head(**{"Content_Length": str(len(upload)), "Connection": connection, **changes})
        )
        client.sendall(upload)

        assert expected == read_response(client)[0]
        assert closes(client, 0.3) == (connection == "close")


def test_an_upload_over_the_limit_is_read_to_its_end(tmp_path: Path) -> None:
    """Also when it is chunked, so that only the counting tells; the connection can go on."""
    bench = build(tmp_path, max_upload_bytes=100_000)
    with serving(bench) as (port, _), connected(port) as client:
        client.sendall(head(Transfer_Encoding="chunked"))
        client.sendall(chunked(*[form(("file", b"\0" * 300_000))] * 4))
        assert 413 == read_response(client)[0]

        client.sendall(head("GET", "/v1/models"))
        assert 200 == read_response(client)[0]


def test_a_refused_upload_is_not_read_for_ever(tmp_path: Path) -> None:
    """Beyond the limit of bytes the answer comes at once, and the connection ends."""
    bench = build(tmp_path, discard_bytes=1000)
    with serving(bench) as (port, _), connected(port) as client:
        client.sendall(head(Content_Length="1001", Authorization="Bearer no"))
        status, headers, _ = read_response(client)

        assert (401, "close") == (status, headers["connection"])


def test_a_refused_chunked_upload_is_not_read_for_ever(tmp_path: Path) -> None:
    """A body without a length is counted."""
    bench = build(tmp_path, discard_bytes=1000)
    with serving(bench) as (port, _), connected(port) as client:
        client.sendall(head(Transfer_Encoding="chunked", Authorization="Bearer no"))
        client.sendall(b"800\r\n" + b"\0" * 2048)

        assert 401 == read_response(client)[0]


def test_a_refused_upload_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """A client that stops sending gets its answer after the limit of time."""
    bench = build(tmp_path, discard_timeout=0.2)
    with serving(bench) as (port, _), connected(port) as client:
        client.sendall(head(Content_Length="1000", Authorization="Bearer no"))
        status, headers, _ = read_response(client)

        assert (401, "close") == (status, headers["connection"])


def test_an_upload_that_stops_times_out(tmp_path: Path) -> None:
    """408, the connection ends, and the place is free again."""
    bench = build(tmp_path, upload_idle_timeout=0.2)
    with serving(bench) as (port, _), connected(port) as client:
        client.sendall(head(Content_Length=str(len(BODY))) + BODY[:50])
        status, headers, body = read_response(client)

        assert (408, "close") == (status, headers["connection"])
        assert b"upload_timeout" in body
        assert 0 == bench.admission.active


def test_an_upload_that_trickles_times_out(tmp_path: Path) -> None:
    """A byte now and then does not hold a place for ever."""
    bench = build(tmp_path, upload_timeout=0.3, upload_idle_timeout=0.25)
    started = time.monotonic()
    with serving(bench) as (port, _), connected(port) as client:
        client.sendall(head(Content_Length=str(len(BODY))))
        for byte in BODY[:4]:
            time.sleep(0.05)
            client.sendall(bytes([byte]))

        assert 408 == read_response(client)[0]
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_slow_headers_end_the_connection(tmp_path: Path, sent: bytes) -> None:
    """Silent and trickling peers hold no connection."""
    bench = build(tmp_path, header_timeout=0.3)
    with serving(bench) as (port, _), connected(port) as client:
        client.sendall(sent)
        assert closes(client, 3)


def test_slow_headers_of_a_second_request_end_the_connection(tmp_path: Path) -> None:
    """The clock runs for each request's headers, not between requests."""
    bench = build(tmp_path, header_timeout=0.3)
    with serving(bench) as (port, _), connected(port) as client:
        client.sendall(head("GET", "/"))
        assert 200 == read_response(client)[0]
        time.sleep(0.6)  # idle between requests is no fault
        client.sendall(b"GET / HTTP/1.1\r\n")
        assert closes(client, 3)


def test_a_slow_body_is_no_slow_header(tmp_path: Path) -> None:
    """The clock stops when the headers are complete."""
    bench = build(tmp_path, header_timeout=0.2)
    with serving(bench) as (port, _), connected(port) as client:
        client.sendall(head(Content_Length=str(len(BODY))) + BODY[:50])
        time.sleep(0.5)
        client.sendall(BODY[50:])

        assert 200 == read_response(client)[0]


MALFORMED = {
    "both lengths": head(Content_Length="5", Transfer_Encoding="chunked") + b"0\r\n\r\n",
    "two different lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
    b"Content-Length: 2\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "HTTP/2 without its preface": b"POST / HTTP/2.0\r\nHost: x\r\n\r\n",
    "HTTP/0.9 with headers": b"GET / HTTP/0.9\r\nHost: x\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "headers without end": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000,
    "unknown coding": head(Transfer_Encoding="gzip, chunked"),
    "space before the colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "negative length": b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "the same length twice": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
    b"content-length: 1\r\n\r\nx",
    "a list of lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\nx",
    "a length in hex": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1\r\n\r\nx",
    "a coding twice": head(Transfer_Encoding="chunked")[:-2] + b"Transfer-Encoding: x\r\n\r\n",
    "a coding in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a coding behind a tab": head(Transfer_Encoding="\x0bchunked"),
    "a folded line": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
    "a length in a folded line": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n\t"
    b"Content-Length: 5\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: x\n\n",
    "one bare line feed": b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
    "an end of bare line feeds": b"GET / HTTP/1.1\r\nHost: x\r\n\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\rContent-Length: 5\r\n\r\n",
    "a zero byte": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "too many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * MAX_HEADERS + b"\r\n",
    "too long a head at once": b"GET / HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n"
    % (b"x" * MAX_HEAD_BYTES),
    "too long a path": b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * MAX_HEAD_BYTES),
}


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_http_is_refused_as_a_whole(port: int, request_bytes: bytes) -> None:
    """400 with OpenAI's body, and the connection ends: nothing after it is a request."""
    with connected(port) as client:
        client.sendall(request_bytes)
        status, headers, body = read_response(client)

        assert (400, "close") == (status, headers["connection"])
        assert b'"code": "malformed_request"' in body
        assert headers["x-request-id"].startswith("req_")
        assert ("no-store", "nosniff") == (
            headers["cache-control"],
            headers["x-content-type-options"],
        )
        assert "server" not in headers


def test_as_many_headers_as_allowed_are_read(port: int) -> None:
    """The bounds are where they are said to be."""
    more = b"X: y\r\n" * (MAX_HEADERS - 1)
    space = MAX_HEAD_BYTES - len(b"GET / HTTP/1.1\r\nHost: x\r\nX: \r\n\r\n")
    for lines in (more, b"X: %b\r\n" % (b"x" * space)):
        with connected(port) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n")

            assert 200 == read_response(client)[0]


FLOODS = {
    "tiny chunks": b"1\r\nx\r\n" * 20_000,
    "extensions": (b"40;%b\r\n%b\r\n" % (b"e" * 2_000, b"x" * 64)) * 100,
    "one long extension": b"5;" + b"e" * 100_000 + b"\r\nabcde\r\n",
    "an extension without end": b"5;" + b"e" * 300_000,
    "a size without end": b"0" * 300_000,
    "a size beyond numbers": b"F" * 21 + b"\r\n",
    "a bare line feed after a size": b"5\nabcde\r\n",
    "a trailer without end": b"0\r\n" + b"X: y\r\n" * 50_000,
}


@pytest.mark.parametrize("body", FLOODS.values(), ids=FLOODS)
def test_a_body_of_mere_framing_is_refused(port: int, bench: Bench, body: bytes) -> None:
    """Chunks that carry hardly anything, with a good key and with a wrong one: 400, soon."""
    for key in (KEY.key, "wrong"):
        started = time.monotonic()
        with connected(port) as client:
            client.sendall(head(Transfer_Encoding="chunked", Authorization=f"Bearer {key}"))
            with contextlib.suppress(ConnectionError):  # it need not be read to its end
                client.sendall(body)
            status, headers, _ = read_response(client)

            assert (400, "close") == (status, headers["connection"])
        assert time.monotonic() - started < 5
    assert [] == bench.loader.uploads


def test_small_chunks_with_extensions_are_read(port: int) -> None:
    """What a client may reasonably write: 64 bytes a chunk, and an extension now and then."""
    body = form(("file", b"\0" * 500_000))
    pieces = [body[at : at + 64] for at in range(0, len(body), 64)]
    with connected(port) as client:
        client.sendall(head(Transfer_Encoding="chunked"))
        client.sendall(b"5;name=value\r\n" + pieces[0][:5] + b"\r\n")
        client.sendall(chunked(pieces[0][5:], *pieces[1:]))

        assert 200 == read_response(client)[0]


def test_a_smuggled_request_is_not_answered(port: int, bench: Bench) -> None:
    """With both lengths, the second request could be what a proxy took for the first one's body."""
    smuggled = head("GET", "/v1/models")
    with connected(port) as client:
        both = head(Content_Length="5", Transfer_Encoding="chunked")
        client.sendall(both + b"0\r\n\r\n" + smuggled)

        assert 400 == read_response(client)[0]
        assert closes(client, 2)
    assert [] == bench.lines()


def test_a_bad_chunk_ends_an_upload(port: int, bench: Bench) -> None:
    """Framing that breaks in the middle: 400, and the request is not carried out."""
    with connected(port) as client:
        client.sendall(head(Transfer_Encoding="chunked") + b"5\r\nabcde\r\n")
        time.sleep(0.1)
        client.sendall(b"zz\r\n")

        assert 400 == read_response(client)[0]
    assert [] == bench.loader.uploads


@pytest.mark.parametrize("path", ["//", "/./healthz", "/healthz/../v1/models", "http://x/healthz"])
def test_only_the_exact_open_paths_are_open(port: int, path: str) -> None:
    """What a client library would tidy up, an attacker sends as it is."""
    with connected(port) as client:
        client.sendall(head("GET", path, Authorization="none"))

        assert 401 == read_response(client)[0]


def test_a_pipelined_request_is_answered_in_order(port: int) -> None:
    """Two requests in one write."""
    with connected(port) as client:
        client.sendall(head("GET", "/healthz"))
        assert 200 == read_response(client)[0]
        client.sendall(head("GET", "/nope") + head("GET", "/healthz"))

        data = b""
        while data.count(b"HTTP/1.1 ") < 2 or not data.endswith(b'{"status": "ok"}'):
            data += client.recv(65536)
        assert data.index(b"HTTP/1.1 404") < data.index(b"HTTP/1.1 200")


def test_the_key_is_not_in_the_log(port: int, bench: Bench) -> None:
    """Not even of a request that is no HTTP."""
    with connected(port) as client:
        client.sendall(head("GET", "/", Content_Length="x"))
        read_response(client)

    assert KEY.key not in bench.log.getvalue()
    assert 1 == len(bench.lines("malformed_request"))
