"""An answer on its way out, also one that begins before it is known.

Knows: ASGI's `send`, common headers, what keeps a connection alive, how a late failure is told.
Must not know: what an answer says, or why a request fails.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from server.errors import ServerError
from server.http.body import RequestBody
from server.http.early import Early
from server.http.language import preferred
from server.http.parts import Message, Scope, Send
from server.http.problems import render
from server.http.security_headers import missing_from
from server.observe.logs import RequestRecord

ABORT = "sussurro.abort"
"""An ASGI extension of ours: a call that ends the connection and leaves the response unfinished."""

OPENAI_VERSION = "2020-10-01"
"""The version of OpenAI's API; there has been no other one."""

UNBUFFERED = ((b"x-accel-buffering", b"no"),)
"""For an answer that comes in pieces: no proxy may keep them back."""


class Answer:
    """ASGI's `send` for the app, with the common headers; lets a refused upload run out."""

    def __init__(
        self,
        scope: Scope,
        send: Send,
        record: RequestRecord,
        body: RequestBody,
        elapsed: Callable[[], float],
    ) -> None:
        accepted = dict(scope["headers"]).get(b"accept-language", b"")
        self.language = preferred(accepted.decode("latin-1"))
        """What the caller reads."""
        self.ended = False
        """Nothing more can be sent."""
        self.headers: list[tuple[bytes, bytes]] = []
        """What every answer to this request shall have besides, once it is known."""
        self._send = send
        self._abort: Callable[[], None] = scope.get("extensions", {}).get(ABORT, lambda: None)
        self._record = record
        self._body = body
        self._elapsed = elapsed
        self._started = False
        self._early: Early | None = None
        self._said = b""
        self._pending = b""
        self._pushed = asyncio.Event()

    async def send(self, message: Message) -> None:
        """Pass a message on; after an early begin, what is left of it."""
        if self.ended:
            return
        if self._early is not None:
            await self._send_rest(message, self._early)
        elif message["type"] == "http.response.start":
            await self._start(message["status"], [*message.get("headers", ())])
        else:
            await self._send(message)
            self.ended = not message.get("more_body")

    async def refuse(self, error: ServerError) -> None:
        """Answer with an error, unless an answer that is known is already under way."""
        if self.ended or (self._started and self._early is None):
            return
        self._record.refused(error.code, error.reason)
        problem = render(error, self.language)
        headers = [(k.encode(), v.encode()) for k, v in problem.headers.items()]
        headers.append((b"content-length", b"%d" % len(problem.body)))
        await self.send(
            {"type": "http.response.start", "status": problem.status, "headers": headers}
        )
        await self.send({"type": "http.response.body", "body": problem.body})

    @asynccontextmanager
    async def kept_alive(self, early: Early) -> AsyncIterator[Callable[[bytes], None]]:
        """While the block runs, begin the answer and fill it as `early` says.

        Yields: a function that takes the next piece of the answer; it never waits.
        """
        speaking = asyncio.create_task(self._speak(early))

        def push(piece: bytes) -> None:
            self._pending += piece
            self._pushed.set()

        try:
            yield push
            await _ended(speaking)
            if not early.hold:
                await self._say(early, b"")
        finally:
            await _ended(speaking)

    async def _speak(self, early: Early) -> None:
        """Send what was pushed as it comes, and filler in between."""
        quiet = early.after
        if early.hold:
            await asyncio.sleep(early.after)
            quiet = 0.0
        while True:
            try:
                async with asyncio.timeout(quiet):
                    await self._pushed.wait()
            except TimeoutError:
                pass
            await self._say(early, early.filler)
            quiet = early.interval

    async def _say(self, early: Early, filler: bytes) -> None:
        """What is pending, or else the filler; uvicorn takes a message whole or not at all."""
        self._pushed.clear()
        pending = self._pending
        if not (pending or filler):
            return
        head = b"" if self._early else early.head
        if self._early is None:
            headers = [(b"content-type", early.content_type.encode()), *UNBUFFERED]
            await self._start(200, headers)
            self._early = early
            self._record.early_s = self._elapsed()
        data = head + (pending or filler)
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self._pending = self._pending[len(pending) :]
        self._said += head + pending

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Waits until the client has sent its body."""
        headers += [
            *self.headers,
            (b"x-request-id", self._record.request_id.encode()),
            (b"openai-version", OPENAI_VERSION.encode()),
            (b"openai-processing-ms", b"%d" % round(self._elapsed() * 1000)),
        ]
        headers += missing_from(headers)
        if not await self._body.discard():
            headers.append((b"connection", b"close"))
        self._record.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        self._started = True

    async def _send_rest(self, message: Message, early: Early) -> None:
        """The end of an answer whose status is long gone."""
        if message["type"] == "http.response.start":
            status = self._record.status = message["status"]
            if status >= 400 and early.failure is None:
                self._record.aborted = self.ended = True
                self._abort()
            return
        body = message.get("body", b"")
        assert not message.get("more_body"), "This is a bug: answers to transcriptions are whole."
        if early.failure is None:
            assert body.startswith(self._said), "This is a bug: another answer was begun."
            body = body[len(self._said) :]
        elif self._record.status != 200:
            body = early.failure(body)
        await self._send({"type": "http.response.body", "body": body})
        self.ended = True


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel and wait: two must not send at once."""
    task.cancel()
    await asyncio.wait([task])
