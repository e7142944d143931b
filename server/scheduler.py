"""Who goes next: turns among keys, then among the requests of a key, by seconds of audio.

Knows: how much the engine can have at once, who waits for it, who has had how much.
Must not know: what a window holds, HTTP. Lives on one event loop; nothing here blocks or locks.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from server.engines.base import Engine
from server.observe.traces import span

Result = TypeVar("Result")

SHORT = 15.0
"""Audio seconds of a recording that may take an engine's spare place."""

QUANTUM = 30.0
"""Audio seconds that a request may be ahead of its key's others: one full window."""


BACKGROUND = 4.0
"""What a call is charged that nobody waits for: beside one busy key such work gets a fifth."""


@dataclass(order=True, slots=True)
class Waiting:
    """A call that waits for the engine; the earliest part of a recording goes first."""

    position: int
    number: int
    size: float = field(compare=False)
    charge: float = field(compare=False)
    granted: "asyncio.Future[bool]" = field(compare=False)


@dataclass(eq=False, slots=True)
class Share:
    """One key: the audio seconds that it was given, and the point that its requests are at.

    What nobody waits for has a share of its own, where each second counts as `weight`.
    """

    weight: float = 1.0
    turns: int = 0
    served: float = 0.0
    reached: float = 0.0


@dataclass(eq=False, slots=True)
class Turn:
    """One request: what it was given, and its calls that wait.

    `queue_s` adds up what its calls have waited here; calls that wait side by side count each.
    """

    request_id: int
    deadline: float | None
    share: Share
    audio_s: float
    served: float = 0.0
    queue_s: float = 0.0
    waiting: list[Waiting] = field(default_factory=list)

    @property
    def rank(self) -> tuple[float, float, float, int]:
        """The least goes next: the key that was given least, then the request that was.

        Requests of a key within the same `QUANTUM` go shortest first, then in order of arrival:
        fifty short ones are finished one after the other and not all at the end.
        """
        return (self.share.served, self.served // QUANTUM, self.audio_s, self.request_id)


class Scheduler:
    """Gives the engine's places to the calls of all requests, one at a time.

    This is deficit round robin without a fixed round: every call is charged its audio seconds,
    and whoever was charged least goes next. Who was idle starts where the others are, so that
    time without requests is no credit.

    No more is with the engine than it can work on (`EngineInfo.max_in_flight` and `.._s`), so a
    long recording's windows never stand in front of a short one's. Where the engine has spare
    places, a short one whose turn it is does not even wait for the windows that run.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self.engine = engine
        self._clock = clock
        self._in_flight = 0
        self._in_flight_s = 0.0
        self._spared = 0
        self._reached = 0.0
        self._shares: dict[tuple[str, bool], Share] = {}
        self._backlog: set[Turn] = set()
        self._numbers = itertools.count(1)

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        every = (waiting for turn in self._backlog for waiting in turn.waiting)
        return sum(not waiting.granted.done() for waiting in every)

    @contextmanager
    def turn(
        self,
        deadline: float | None = None,
        *,
        key_id: str = "",
        audio_s: float = 0.0,
        background: bool = False,
    ) -> Iterator[Turn]:
        """A new request; leaving the context drops whatever it still has here and in the engine.

        Args:
            deadline: an instant of `time.monotonic()`, for the engine.
            key_id: requests of one key share its turns.
            audio_s: the recording's length.
            background: nobody waits for it.
        """
        whose = (key_id, background)
        share = self._shares.setdefault(whose, Share(BACKGROUND if background else 1.0))
        share.turns += 1
        turn = Turn(next(self._numbers), deadline, share, audio_s)
        try:
            yield turn
        finally:
            self._backlog.discard(turn)
            share.turns -= 1
            if not share.turns:
                del self._shares[whose]
            self.engine.cancel(turn.request_id)

    async def run(
        self,
        turn: Turn,
        call: Callable[[], Future[Result]],
        *,
        size: float = 0.0,
        charge: float = 0.0,
        position: int = 0,
    ) -> Result:
        """Wait for this request's turn, then for the engine.

        `call` starts the engine's work. Cancelling gives the place back, at once if the engine
        has not begun, else when it has finished the batch.

        Args:
            turn: the request.
            call: returns the engine's future.
            size: audio seconds of the call's window.
            charge: what it counts for the request's and its key's share.
            position: where in the recording it is; less goes first.
        """
        with span("queue"):
            spare = await self._place(turn, size, charge, position)
        try:
            future = call()
        except BaseException:
            self._release(size, spare)
            raise
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: _call_soon(loop, lambda: self._release(size, spare)))
        with span("engine"):
            return await asyncio.wrap_future(future)

    @staticmethod
    async def finish(turn: Turn, call: Callable[[], Future[Result]], *, charge: float) -> Result:
        """The short work that a call just done leads to, such as placing its words.

        It is charged, but waits for no place: behind whole windows that came later, it would keep
        back a text that is all but done. A request has one at most for each window under way.
        """
        turn.share.served += charge * turn.share.weight
        turn.served += charge
        with span("engine"):
            return await asyncio.wrap_future(call())

    async def _place(self, turn: Turn, size: float, charge: float, position: int) -> bool:
        """Wait for a place; whether it is a spare one."""
        granted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        heapq.heappush(turn.waiting, Waiting(position, next(self._numbers), size, charge, granted))
        # Who was idle has no claim on the past.
        turn.share.served = max(turn.share.served, self._reached)
        turn.served = max(turn.served, turn.share.reached // QUANTUM * QUANTUM)
        self._backlog.add(turn)
        asked = self._clock()
        self._grant()
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._release(size, granted.result())
            raise
        finally:
            turn.queue_s += self._clock() - asked

    def _grant(self) -> None:
        while turn := self._next():
            spare = not self._fits(turn.waiting[0].size)
            if spare and not self._may_be_spare(turn):
                return
            waiting = heapq.heappop(turn.waiting)
            self._spared += spare
            self._in_flight += 1
            self._in_flight_s += waiting.size
            self._reached, turn.share.reached = turn.share.served, turn.served
            turn.share.served += waiting.charge * turn.share.weight
            turn.served += waiting.charge
            waiting.granted.set_result(spare)

    def _next(self) -> Turn | None:
        """Whose turn it is; forgets those who left and those who wait no more."""
        for turn in list(self._backlog):
            while turn.waiting and turn.waiting[0].granted.done():
                heapq.heappop(turn.waiting)
            if not turn.waiting:
                self._backlog.remove(turn)
        return min(self._backlog, key=lambda turn: turn.rank, default=None)

    def _fits(self, size: float) -> bool:
        """Whether the engine can take that much more. An idle one takes anything."""
        if not self._in_flight:
            return True
        info = self.engine.info
        room = self._in_flight_s + size <= info.max_in_flight_s
        return room and self._in_flight < info.max_in_flight

    def _may_be_spare(self, turn: Turn) -> bool:
        """Whether a spare place is free, and this is a short recording that somebody waits for."""
        free = self._spared < self.engine.info.spare
        return free and turn.audio_s <= SHORT and turn.share.weight == 1.0

    def _release(self, size: float, spare: bool) -> None:
        self._in_flight -= 1
        self._spared -= spare
        self._in_flight_s = self._in_flight_s - size if self._in_flight else 0.0
        self._grant()


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """From an engine's thread to the loop; a closed loop has nobody left to tell."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        assert loop.is_closed(), "This is a bug: an open loop refused a callback"
