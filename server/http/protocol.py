"""HTTP/1.1 on the wire: what uvicorn's h11 protocol leaves open.

Knows: a connection's deadlines and its end, and how what is no HTTP is answered.
Must not know: routes, keys, bodies; what is no HTTP (`framing` does).
"""

import asyncio
import fcntl
import select
import socket
import struct
import sys
import termios
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeAlias

import h11
import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from server import texts
from server.errors import MalformedRequest
from server.http.answer import ABORT, OPENAI_VERSION
from server.http.body import HUNG_UP
from server.http.connections import ConnectionLimits, Connections
from server.http.framing import StrictConnection
from server.http.parts import AsgiApp, Receive, Scope, Send
from server.http.problems import render
from server.http.security_headers import HEADERS


class StrictProtocol(H11Protocol):
    """One connection, which ends when its peer is silent, too slow, or in the way of others."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ConnectionLimits,
        all_connections: Connections,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        extensions = {ABORT: self._abort, HUNG_UP: self._hung_up}
        self.app = partial(_with_extensions, self.app, extensions)
        self.conn = StrictConnection()
        self._limits = limits
        self._all = all_connections
        self._header_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A silent peer is on the clock from the start."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # whatever the network does not take is noticed
        self._header_timer = self.loop.call_later(self._limits.header_timeout, self.make_room)
        self._all.opened(self)

    def data_received(self, data: bytes) -> None:
        """The clock stops when the head is complete, and starts with the next request's."""
        super().data_received(data)
        self._watch_head()

    def on_response_complete(self) -> None:
        """What came meanwhile may be a part of the next request."""
        super().on_response_complete()
        self._watch_head()

    def pause_writing(self) -> None:
        """The peer is on the clock until it has taken all that is on its way."""
        super().pause_writing()
        self._stall_timer = self._stall_clock()

    def resume_writing(self) -> None:
        """It has."""
        super().resume_writing()
        self._stop_stall_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clocks."""
        self._stop_header_clock()
        self._stop_stall_clock()
        self._all.closed(self)
        super().connection_lost(exc)

    def make_room(self) -> None:
        """Close: nothing is being served here."""
        self.transport.close()

    def _watch_head(self) -> None:
        """Whether a request is being served, and whether the next one's head has begun."""
        if self.cycle is None or self.cycle.response_complete:
            self._all.waits(self)
        else:
            self._all.serves(self)
        if self.conn.their_state is not h11.IDLE:
            self._stop_header_clock()
        elif self._header_timer is None and self.conn.trailing_data[0]:
            self._header_timer = self.loop.call_later(self._limits.header_timeout, self.make_room)

    def _stop_header_clock(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_stall_clock(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()

    def _stall_clock(self) -> asyncio.TimerHandle:
        return self.loop.call_later(
            self._limits.stall_timeout, self._look_for_progress, self._untaken()
        )

    def _look_for_progress(self, before: int) -> None:
        """End a connection whose peer has taken nothing since; a slow one may go on."""
        if self._untaken() < before:
            self._stall_timer = self._stall_clock()
        else:
            self.transport.abort()

    def _untaken(self) -> int:
        """Bytes that the peer has not taken: ours, and the kernel's, which come to megabytes."""
        waiting = fcntl.ioctl(self.transport.get_extra_info("socket"), termios.TIOCOUTQ, bytes(4))
        return self.transport.get_write_buffer_size() + int.from_bytes(waiting, sys.byteorder)

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
            h11.Response(
                status_code=problem.status,
                headers=[*((k.encode(), v.encode()) for k, v in headers.items()), *HEADERS],
            ),
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


async def _with_extensions(
    app: AsgiApp, extensions: Mapping[str, object], scope: Scope, receive: Receive, send: Send
) -> None:
    """The app, which may look at its connection and cut it."""
    await app({**scope, "extensions": extensions}, receive, send)


Config: TypeAlias = uvicorn.Config


def make_config(
    app: AsgiApp,
    *,
    limits: ConnectionLimits,
    drain_timeout: float,
    connections: Connections | None = None,
) -> uvicorn.Config:
    """The configuration of uvicorn; `connections` is where somebody else looks at them.

    It does not read forwarded headers, for it would believe any that a trusted peer passes on.
    Its own cap on connections is not used either: it counts idle ones, so that probes would fail.
    """
    return uvicorn.Config(
        app,
        http=partial(  # type: ignore[arg-type]
            StrictProtocol,
            limits=limits,
            all_connections=connections or Connections(limits.max_connections),
        ),
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=limits.idle_timeout,  # type: ignore[arg-type]  # passed to call_later
        timeout_graceful_shutdown=drain_timeout,  # type: ignore[arg-type]  # passed to wait_for
    )
