"""Who goes next: admission of requests, and turns among those that were admitted.

Knows: how many places the engine has, which request waits for one.
Must not know: what a window holds, HTTP. Lives on one event loop; nothing here blocks or locks.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from server.engines.base import Engine
from server.errors import Draining, Overloaded

Result = TypeVar("Result")


class Admission:
    """A bound on transcriptions at once, waiting ones included; closed while draining."""

    def __init__(self, max_requests: int) -> None:
        self._max_requests = max_requests
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.active = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """A place for one request, from before its body is read until it is answered.

        Raises:
            Draining: the server is about to stop.
            Overloaded: every place is taken.
        """
        if self._draining:
            raise Draining("The server is restarting. Try again in a moment.", retry_after=5)
        if self.active >= self._max_requests:
            raise Overloaded("The server is at its limit. Try again in a moment.", retry_after=5)
        self.active += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.active -= 1
            if not self.active:
                self._idle.set()

    def drain(self) -> None:
        """Let nobody in from now on."""
        self._draining = True

    @property
    def draining(self) -> bool:
        """Whether the door is closed."""
        return self._draining

    async def idle(self) -> None:
        """Return when no request is active."""
        await self._idle.wait()


@dataclass(eq=False, slots=True)
class Turn:
    """One request's place in the round; its windows wait here for the engine."""

    request_id: int
    deadline: float | None
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Scheduler:
    """Gives the engine's places to requests in turn, one window each.

    At most `max_in_flight` windows are with the engine, so that a long recording's windows
    never stand in front of a short one's.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._free = engine.info.max_in_flight
        self._round: deque[Turn] = deque()
        self._ids = itertools.count(1)

    @contextmanager
    def turn(self, deadline: float | None = None) -> Iterator[Turn]:
        """A new request; leaving the context drops whatever it still has in the engine."""
        turn = Turn(next(self._ids), deadline)
        try:
            yield turn
        finally:
            self.engine.cancel(turn.request_id)

    async def run(self, turn: Turn, call: Callable[[], Future[Result]]) -> Result:
        """Wait for this request's turn, then for the engine.

        `call` starts the engine's work. Cancelling gives the place back, at once if the engine
        has not begun, else when it has finished the batch.
        """
        await self._place(turn)
        try:
            future = call()
        except BaseException:
            self._release()
            raise
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: _call_soon(loop, self._release))
        return await asyncio.wrap_future(future)

    async def _place(self, turn: Turn) -> None:
        granted = asyncio.get_running_loop().create_future()
        if not turn.waiting:
            self._round.append(turn)
        turn.waiting.append(granted)
        self._grant()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._release()
            raise

    def _grant(self) -> None:
        while self._free and self._round:
            turn = self._round.popleft()
            granted = turn.waiting.popleft()
            if turn.waiting:
                self._round.append(turn)
            if not granted.done():
                self._free -= 1
                granted.set_result(None)

    def _release(self) -> None:
        self._free += 1
        self._grant()


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """From an engine's thread to the loop; a closed loop has nobody left to tell."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        assert loop.is_closed(), "This is a bug: an open loop refused a callback"
