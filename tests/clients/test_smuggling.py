"""Requests that two servers in a row might read differently, through a real Traefik.

Each probe holds a second request inside what may be the first one's body. It has an id of its own:
if the server ever logs that id while the proxy knows of no such request, it was smuggled.
"""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from server_process import KEY, Process, launcher

TRAEFIK = Path(sys.prefix) / "bin" / "traefik"
HIDDEN = "GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Request-Id: {id}\r\nX: "
"""Its last header swallows the line that comes after it."""

HEAD = "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\n"
LENGTHS = {
    "length, then chunked": "Content-Length: {size}\r\nTransfer-Encoding: chunked\r\n",
    "chunked, then length": "Transfer-Encoding: chunked\r\nContent-Length: {size}\r\n",
    "chunked in capitals": "Content-Length: {size}\r\nTransfer-Encoding: CHUNKED\r\n",
    "space before the colon": "Content-Length: {size}\r\nTransfer-Encoding : chunked\r\n",
    "a tab before the value": "Content-Length: {size}\r\nTransfer-Encoding:\tchunked\r\n",
    "a vertical tab": "Content-Length: {size}\r\nTransfer-Encoding: \x0bchunked\r\n",
    "quotes": 'Content-Length: {size}\r\nTransfer-Encoding: "chunked"\r\n',
    "a list": "Content-Length: {size}\r\nTransfer-Encoding: identity, chunked\r\n",
    "chunked twice": "Content-Length: {size}\r\n" + "Transfer-Encoding: chunked\r\n" * 2,
    "an unknown coding": "Content-Length: {size}\r\nTransfer-Encoding: xchunked\r\n",
    "a folded coding": "Content-Length: {size}\r\nTransfer-Encoding:\r\n chunked\r\n",
    "behind a bare line feed": "Content-Length: {size}\r\nX: y\nTransfer-Encoding: chunked\r\n",
    "behind a bare return": "Content-Length: {size}\r\nX: y\rTransfer-Encoding: chunked\r\n",
    "two lengths": "Content-Length: 0\r\nContent-Length: {size}\r\n",
    "two equal lengths": "Content-Length: {size}\r\n" * 2,
    "a list of lengths": "Content-Length: 0, {size}\r\n",
    "a length with a sign": "Content-Length: +{size}\r\n",
    "a length in hex": "Content-Length: 0x{size}\r\n",
    "a length with a space": "Content-Length : {size}\r\n",
    "a zero in the length": "Content-Length: 0{size}\r\n",
    "no length": "",
    "connection drops the length": "Content-Length: {size}\r\nConnection: Content-Length\r\n",
    "connection drops the coding": "Transfer-Encoding: chunked\r\n"
    "Connection: Transfer-Encoding\r\n",
    "an upgrade": "Content-Length: {size}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
    "an expectation": "Content-Length: {size}\r\nExpect: 100-continue\r\n",
}
BODIES = {
    "an empty chunk first": "0\r\n\r\n{hidden}",
    "a chunk around it": "{length:x}\r\n{hidden}\r\n0\r\n\r\n",
    "a bare line feed": "0\n\n{hidden}",
    "an extension": "0;x\ny\r\n\r\n{hidden}",
    "a trailer": "0\r\nContent-Length: 5\r\n\r\n{hidden}",
    "a size too long": "{zeros}\r\n\r\n{hidden}",
    "plain": "{hidden}",
}


@dataclass(frozen=True, slots=True)
class Edge:
    """A proxy and the server behind it."""

    port: int
    log: Path
    server: Process

    def passed_on(self) -> set[str]:
        """The ids of all requests that the proxy knows of."""
        lines = [json.loads(x) for x in self.log.read_text().splitlines() if x.startswith("{")]
        return {line.get("request_X-Request-Id", "") for line in lines}

    def served(self) -> set[str]:
        """The ids of all requests that the server has answered."""
        return {line["request_id"] for line in self.server.lines("request")}

    def send(self, data: bytes, seconds: float = 1.0) -> bytes:
        """What comes back until the proxy has no more to say."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
            answer = b""
            with contextlib.suppress(ConnectionError, TimeoutError):
                client.sendall(data)
                client.settimeout(seconds)
                while piece := client.recv(65536):
                    answer += piece
            return answer

    def ask(self, request_id: str) -> bytes:
        """An honest request, whose answer says whose it is."""
        key = f"Authorization: Bearer {KEY.key}\r\nConnection: close\r\n"
        head = f"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Request-Id: {request_id}\r\n{key}\r\n"
        return self.send(head.encode(), 10)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """Traefik, with one connection kept to the server: what one request leaves, hits another."""
    folder = tmp_path_factory.mktemp("edge")
    with launcher(folder) as launch, socket.create_server(("127.0.0.1", 0)) as free:
        server = launch(SUSSURRO_FAILURES_PER_MINUTE="100000").ready()
        port = free.getsockname()[1]
        free.close()
        with traefik(folder, port, server.url) as log:
            yield Edge(port, log, server)


@contextlib.contextmanager
def traefik(folder: Path, port: int, url: str) -> Iterator[Path]:
    """It runs while the block does; its log of requests."""
    service = {"loadBalancer": {"servers": [{"url": url}], "serversTransport": "one"}}
    transports = {"one": {"maxIdleConnsPerHost": 1}}
    dynamic = {
        "http": {
            "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "s"}},
            "services": {"s": service},
            "serversTransports": transports,
        }
    }
    (folder / "dynamic.yaml").write_text(json.dumps(dynamic))  # YAML holds JSON
    log = folder / "access.log"
    arguments = [
        f"--entryPoints.web.address=127.0.0.1:{port}",
        f"--providers.file.filename={folder / 'dynamic.yaml'}",
        *("--accesslog=true", f"--accesslog.filepath={log}", "--accesslog.format=json"),
        "--accesslog.fields.headers.names.X-Request-Id=keep",
        *("--global.checkNewVersion=false", "--global.sendAnonymousUsage=false"),
    ]
    with (folder / "traefik.out").open("wb") as out:
        process = subprocess.Popen([TRAEFIK, *arguments], stdout=out, stderr=out, cwd=folder)
    try:
        end = time.monotonic() + 30
        while True:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port)) as probe,
            ):
                probe.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if b" 200 " in probe.recv(100):
                    break
            assert process.poll() is None
            assert time.monotonic() < end, (folder / "traefik.out").read_text()
            time.sleep(0.1)
        yield log
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_nothing_is_smuggled(edge: Edge, lengths: str, request: pytest.FixtureRequest) -> None:
    """No probe becomes a request that the proxy knows nothing of, or eats one of its others."""
    name = "".join(c for c in request.node.callspec.id if c.isalnum())
    for number, template in enumerate(BODIES.values()):
        for key in (KEY.key, "wrong"):
            mine = f"{name}-{number}-{key[:5]}"
            hidden = HIDDEN.format(id=f"hidden-{mine}")
            parts = {"hidden": hidden, "length": len(hidden), "zeros": "0" * 400}
            body = template.format(**parts)
            head = HEAD + f"X-Request-Id: outer-{mine}\r\nAuthorization: Bearer {key}\r\n"
            head += "Content-Type: multipart/form-data; boundary=b\r\n"
            edge.send((head + lengths.format(size=len(body)) + "\r\n" + body).encode(), 0.05)
            answer = edge.ask(f"honest-{mine}")

            assert answer.startswith(b"HTTP/1.1 200 OK"), answer
            assert f"x-request-id: honest-{mine}".encode().lower() in answer.lower()
            assert answer.count(b"HTTP/1.1 ") == 1

    assert edge.server.has_logged(f"honest-{mine}")
    time.sleep(0.2)
    hidden_ones = {x for x in edge.served() if x.startswith(f"hidden-{name}")}
    assert hidden_ones <= edge.passed_on()


def test_the_check_can_fail(edge: Edge) -> None:
    """A request that goes past the proxy is in the server's log, and not in the proxy's."""
    port = int(edge.server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall((HIDDEN.format(id="hidden-past") + "y\r\n\r\n").encode())
        client.recv(100)
    edge.ask("honest-last")

    assert edge.server.has_logged("hidden-past")
    assert "honest-last" in edge.passed_on()
    assert "hidden-past" not in edge.passed_on()
