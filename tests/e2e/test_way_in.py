"""The way in, on a real server process: paths that pretend, proxies, headers of every answer."""

import socket
from collections.abc import Iterator

import httpx
import pytest
from server_process import KEY, Process, Start, launcher

from server import __version__

TRICKS = [
    "//v1/models",
    "/%2e/healthz",
    "/%2e%2e/healthz",
    "/./healthz",
    "/healthz/",
    "/healthz/.",
    "/healthz/../v1/models",
    "/healthz/%2e%2e/v1/models",
    "/healthz%2f..%2fv1/models",
    "/healthz%00",
    "/healthz%20",
    "/healthz;/v1/models",
    "/healthz.",
    "/HEALTHZ",
    "/%68ealthz",
    "/docs/../v1/models",
    "/docs%2f",
    "/v1/models#/healthz",
    "/v1/models;/healthz",
    "/v1/models/../../healthz",
    "/v1%2fmodels",
    "/openai/v1/models",
    "/openai/deployments/healthz/models",
    "//healthz",
    "///",
    "/\\healthz",
    "\\healthz",
    "healthz",
    "*",
    "http://x/healthz",
    "http://x/v1/models",
    "HTTP://x//healthz",
    "x:80",
    "http://user@x/healthz",
    "/%ff%fe",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One server for the tests that leave it as it was."""
    with launcher(tmp_path_factory.mktemp("server")) as launch:
        yield launch(SUSSURRO_FAILURES_PER_MINUTE="10000").ready()


def ask(server: Process, method: str, target: str, *lines: str) -> tuple[int, str]:
    """The status and the whole answer to a request that no client library would send."""
    port = int(server.url.rpartition(":")[2])
    head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *lines, "Connection: close"])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(head.encode("latin-1") + b"\r\n\r\n")
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    return int(answer.split(b" ", 2)[1]), answer.decode()


@pytest.mark.parametrize("target", TRICKS)
def test_no_path_goes_round_the_key(server: Process, target: str) -> None:
    """Whatever is not, byte by byte, an open path is 401, with any method, and says no more."""
    for method in ("GET", "POST", "OPTIONS", "CONNECT", "BREW"):
        assert 401 == ask(server, method, target)[0]
        told = "X-Original-URL: /healthz", "X-Rewrite-URL: /healthz", "X-HTTP-Method-Override: GET"
        assert 401 == ask(server, method, target, *told)[0]


@pytest.mark.parametrize("upgrade", ["websocket", "h2c", "TLS/1.0"])
def test_no_other_protocol_goes_round_the_key(server: Process, upgrade: str) -> None:
    """An upgrade is not taken up; the request is one like others."""
    lines = f"Upgrade: {upgrade}", "Connection: Upgrade", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"

    assert 401 == ask(server, "GET", "/v1/models", *lines)[0]


def test_no_answer_tells_who_made_it(server: Process) -> None:
    """No `Server`, no version of ours or of a library, with a key or without."""
    key = f"Authorization: Bearer {KEY.key}"
    for target in ("/", "/healthz", "/readyz", "/docs", "/openapi.json", "/v1/models", "/nope"):
        for lines in ((), (key,)):
            _, answer = ask(server, "GET", target, *lines)

            head = answer.partition("\r\n\r\n")[0].lower()
            assert "\r\nserver:" not in head
            assert "x-powered-by" not in head
            for name in ("uvicorn", "h11", "falcon", "python", __version__):
                assert name not in head
            assert __version__ not in answer


def failures(server: Process, *forwarded: str) -> int:
    """The status of a request with a bad key that a proxy says to come from there."""
    headers = [("Authorization", "Bearer wrong")]
    headers += [("X-Forwarded-For", value) for value in forwarded]
    return httpx.get(f"{server.url}/v1/models", headers=headers).status_code


def test_failures_are_counted_by_the_address_behind_the_proxy(start: Start) -> None:
    """What a caller writes into the header itself neither frees it nor locks others out."""
    server = start(
        SUSSURRO_TRUSTED_PROXIES="127.0.0.0/8, 10.0.0.0/8", SUSSURRO_FAILURES_PER_MINUTE="2"
    ).ready()

    assert [401, 401, 429] == [failures(server, "203.0.113.1") for _ in range(3)]
    assert 429 == failures(server, "198.51.100.7, 203.0.113.1")
    assert 429 == failures(server, "198.51.100.7", "203.0.113.1, 10.0.0.9")
    assert 401 == failures(server, "203.0.113.1, 203.0.113.2")
    assert [401, 401, 429] == [failures(server, f"2001:db8::{n}") for n in (1, 2, 3)]
    assert 401 == failures(server, "2001:db8:0:1::1")
    with server.client() as client:
        client.headers["X-Forwarded-For"] = "203.0.113.1"
        assert 200 == client.get("/v1/models").status_code

    server.statuses(11)
    addresses = [line.get("client_address") for line in server.lines("request")]
    assert ["203.0.113.1"] * 5 + ["203.0.113.2"] == addresses[:6]
    assert addresses[-1] is None  # a good key is name enough


def test_a_forwarded_address_is_nobodys_word_by_default(start: Start) -> None:
    """A new address for every try does not help; a loopback address is not logged."""
    server = start(SUSSURRO_FAILURES_PER_MINUTE="2").ready()

    assert [401, 401, 429] == [failures(server, f"203.0.113.{n}") for n in (1, 2, 3)]
    server.statuses(3)
    assert {None} == {line.get("client_address") for line in server.lines("request")}
