"""A request's body as it arrives: the one owner of ASGI's `receive`.

Knows: bytes received, limits of size and time, whether the client is still there.
Must not know: what the body holds. A client that left never looks like the end of a body:
whoever reads is left waiting, and the edge cancels it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from server import texts
from server.errors import UploadTimeout, UploadTooLarge
from server.http.parts import Receive, Scope

CONTINUE = b"100-continue"

HUNG_UP = "sussurro.hung_up"
"""ASGI extension of our protocol: a function that tells whether the peer has closed its side."""

WATCH_SECONDS = 0.5
"""Between two looks at a connection that nobody reads from."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bytes and seconds that a body may take, and those that a refused one is read on for."""

    max_bytes: int
    idle_timeout: float
    timeout: float
    min_rate: float
    """Bytes a second, on average and after `idle_timeout`."""
    discard_bytes: int
    discard_timeout: float


class RequestBody:
    """The body of one request."""

    def __init__(self, scope: Scope, receive: Receive, limits: BodyLimits) -> None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        self.declared = int(length) if length.isdigit() else None
        """Content-Length, None for a chunked body."""
        self.received = 0
        """Bytes so far, thrown away ones included."""
        self.disconnected = False
        self._may_come = bool(self.declared) or b"transfer-encoding" in headers
        self._awaits_continue = headers.get(b"expect", b"").lower() == CONTINUE
        self._touched = False
        self._abandoned = False
        self._ended = asyncio.Event()
        self._read = False
        self._hung_up = scope.get("extensions", {}).get(HUNG_UP, lambda: False)
        self._receive = receive
        self._limits = limits

    async def receive(self) -> Mapping[str, Any]:
        """ASGI's `receive`, without disconnects.

        The first message is made up, and empty, where a body is to come: Falcon takes one before
        it routes, and taking it from the server would send `100 Continue` for an upload that we
        are about to refuse.
        """
        if not self._touched and self._may_come:
            self._touched = True
            return {"type": "http.request", "body": b"", "more_body": True}
        self._touched = True
        if not self._ended.is_set():
            self._awaits_continue = False
            self._read = True
            message = await self._receive()
            if message["type"] != "http.disconnect":
                self.received += len(message.get("body", b""))
                if not message.get("more_body", False):
                    self._ended.set()
                return message
            self.disconnected = True
            self._ended.set()
        left: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        return await left

    async def gone(self) -> None:
        """Return when the client has left.

        It is watched for once its body is complete, and before anybody reads: a request may
        wait for its place. Whoever reads finds out by himself. An upload that fills the
        network's buffers hides its end until it is read.
        """
        while not self._ended.is_set():
            if not self._read and self._hung_up():
                self.disconnected = True
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await self._ended.wait()
        while not self.disconnected:
            self.disconnected = (await self._receive())["type"] == "http.disconnect"

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes, piece by piece.

        Raises:
            UploadTooLarge: declared or received bytes are over the limit.
            UploadTimeout: the client fell silent or is too slow.
        """
        clock = asyncio.get_running_loop().time
        started = clock()
        self._check_size(self.declared or 0)
        while not self._ended.is_set():
            try:
                async with asyncio.timeout_at(self._next_deadline(started, clock())):
                    message = await self.receive()
            except TimeoutError:
                self.abandon()
                raise UploadTimeout(
                    texts.UPLOAD_TIMEOUT.filled(
                        idle=self._limits.idle_timeout,
                        whole=self._limits.timeout,
                        rate=self._limits.min_rate,
                    )
                ) from None
            self._check_size(self.received)
            if data := message.get("body", b""):
                yield data

    def _next_deadline(self, started: float, now: float) -> float:
        """By when more has to come: a trickle holds a place as silence does, only longer."""
        limits = self._limits
        earned = limits.idle_timeout + self.received / limits.min_rate
        return min(now + limits.idle_timeout, started + earned, started + limits.timeout)

    def abandon(self) -> None:
        """Wait for no more of the body: its client is too slow, or the server stops."""
        self._abandoned = True

    async def discard(self) -> bool:
        """Read the rest and throw it away, within limits; whether the body is complete now.

        Many clients look for an answer only when they have sent everything, and report a closed
        connection otherwise. A client that waits for `100 Continue` is not one of them.
        """
        if self._ended.is_set() or not (self._may_come or self._touched):
            return True
        rest = (self.declared or 0) - self.received
        if self._abandoned or self._awaits_continue or rest > self._limits.discard_bytes:
            return False
        stop = self.received + self._limits.discard_bytes
        try:
            async with asyncio.timeout(self._limits.discard_timeout):
                while not self._ended.is_set() and self.received <= stop:
                    await self.receive()
        except TimeoutError:
            return False
        return self._ended.is_set()

    def _check_size(self, size: int) -> None:
        limit = self._limits.max_bytes
        if size > limit:
            raise UploadTooLarge(
                texts.UPLOAD_TOO_LARGE.filled(limit=limit, size=size), param="file"
            )
