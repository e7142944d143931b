"""HTTP/1.1 on the wire: what uvicorn's h11 protocol leaves open.

Knows: header timeouts, ambiguous request framing, malformed requests.
Must not know: routes, keys, bodies.
"""

import asyncio
import select
import socket
import struct
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

import h11
import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from server import texts
from server.errors import MalformedRequest
from server.http.answer import ABORT, OPENAI_VERSION
from server.http.body import HUNG_UP
from server.http.parts import AsgiApp, Receive, Scope, Send
from server.http.problems import render

KEEP_ALIVE_SECONDS = 120
"""Above the idle timeout of usual proxies (Traefik: 90 s), so that they close first."""

MAX_HEADER_BYTES = 16 * 1024
"""h11's own default: headers that have not ended by then are refused."""


class _StrictConnection(h11.Connection):
    """Refuses Content-Length beside Transfer-Encoding, the base of request smuggling.

    h11 would follow Transfer-Encoding; a proxy in front that followed the other one would
    disagree with us about where the next request begins (RFC 9112, 6.3).
    """

    def next_event(self) -> Any:  # noqa: ANN401 - h11 names no common type
        """As h11's, but raises RemoteProtocolError for such a request."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            names = {name for name, _ in event.headers}
            if {b"content-length", b"transfer-encoding"} <= names:
                raise h11.RemoteProtocolError("both Content-Length and Transfer-Encoding")
        return event


class StrictProtocol(H11Protocol):
    """One connection; a peer gets `header_timeout` seconds to send a request's headers."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        header_timeout: float,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        extensions = {ABORT: self._abort, HUNG_UP: self._hung_up}
        self.app = partial(_with_extensions, self.app, extensions)
        self.conn = _StrictConnection(h11.SERVER, MAX_HEADER_BYTES)
        self._header_timeout = header_timeout
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A silent peer is on the clock from the start."""
        super().connection_made(transport)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """The clock stops when the headers are complete, and starts with the next request's."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._header_timer is None and self.conn.trailing_data[0]:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._stop_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        """Answer what is no HTTP with OpenAI's body, if an answer can still be sent."""
        if self.cycle is not None:
            self.cycle.disconnected = True  # whoever serves it must send nothing any more
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        request_id = f"req_{uuid.uuid4().hex}"
        structlog.get_logger().info("malformed_request", request_id=request_id)
        problem = render(MalformedRequest(texts.MALFORMED))
        headers = {
            **problem.headers,
            "content-length": str(len(problem.body)),
            "connection": "close",
            "x-request-id": request_id,
            "openai-version": OPENAI_VERSION,
            "openai-processing-ms": "0",
        }
        for event in (
            h11.Response(status_code=problem.status, headers=list(headers.items())),
            h11.Data(data=problem.body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _hung_up(self) -> bool:
        """Whether the peer has closed its side, seen without reading what it sent before.

        Then our side is closed as well, for uvicorn would not learn of it.
        """
        if self.transport.is_closing():
            return True
        watch = select.poll()
        watch.register(self.transport.get_extra_info("socket"), select.POLLRDHUP)
        if not watch.poll(0):
            return False
        if self.cycle is not None:
            self.cycle.disconnected = True
        self.transport.abort()
        return True

    def _abort(self) -> None:
        """End the connection in the middle of a response, so that nobody takes it for a whole one.

        A chunked body then lacks its end. One for HTTP/1.0 ends with the connection, so that has
        to break.
        """
        if self.cycle is not None:
            self.cycle.disconnected = True  # uvicorn need not wonder
        if self.conn.their_http_version != b"1.1":
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.close()

    def _start_timer(self) -> None:
        self._header_timer = self.loop.call_later(self._header_timeout, self._too_slow)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _too_slow(self) -> None:
        self._header_timer = None
        self.transport.close()


async def _with_extensions(
    app: AsgiApp, extensions: Mapping[str, object], scope: Scope, receive: Receive, send: Send
) -> None:
    """The app, which may look at its connection and cut it."""
    await app({**scope, "extensions": extensions}, receive, send)


def make_config(app: AsgiApp, *, header_timeout: float, drain_timeout: float) -> uvicorn.Config:
    """The configuration of uvicorn.

    Forwarded headers are not read: nothing here depends on a caller's address or scheme. Its own
    cap on connections is not used either: it counts idle ones, so that probes would fail.
    """
    return uvicorn.Config(
        app,
        http=partial(StrictProtocol, header_timeout=header_timeout),  # type: ignore[arg-type]
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=drain_timeout,  # type: ignore[arg-type]  # passed to wait_for
    )
