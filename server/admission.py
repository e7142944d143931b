"""Who gets in: places for requests, room for their audio, a short wait, then a refusal.

Knows: bounds, who waits for a place, how fast audio is worked off.
Must not know: HTTP, engines, what a recording holds. Lives on one event loop; nothing here blocks.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from server import texts
from server.errors import Draining, Overloaded, RateLimited, ServerError
from server.settings import Settings

MAX_RETRY_AFTER = 60
"""Seconds. OpenAI's SDKs ignore a longer one, or do not try again at all."""

MEMORY_SECONDS = 60.0
"""What was measured so long ago still counts by 1/e."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Requests at once, in all and by key; audio seconds not yet done; how long and how many wait.

    A key may have as many requests waiting as it may have places.
    """

    max_requests: int = 64
    max_requests_per_key: int = 64
    max_audio_seconds: float = math.inf
    max_wait: float = 0.0
    max_waiting: int = 0

    @classmethod
    def of(cls, settings: Settings) -> "Bounds":
        """The bounds that the settings ask for."""
        return cls(
            max_requests=settings.max_requests,
            max_requests_per_key=settings.max_requests_per_key,
            max_audio_seconds=settings.max_queued_audio_seconds,
            max_wait=settings.max_queue_wait,
            max_waiting=settings.max_waiting,
        )


class Throughput:
    """Audio seconds that are done in a second, over about the last minute of work.

    Nothing is known at the start, so a slow server is assumed: five times real time.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._audio_s, self._busy_s = 5.0, 1.0
        self._since = clock()

    @property
    def rate(self) -> float:
        """Audio seconds a second."""
        return self._audio_s / self._busy_s

    def begin(self) -> None:
        """Work starts after a time without any, which does not count."""
        self._since = self._clock()

    def add(self, audio_s: float) -> None:
        """So much was done since the last time."""
        now = self._clock()
        passed, self._since = now - self._since, now
        kept = math.exp(-passed / MEMORY_SECONDS)
        self._audio_s = self._audio_s * kept + audio_s
        self._busy_s = self._busy_s * kept + passed


class Place:
    """One request that is in, or wants to be."""

    def __init__(
        self, admission: "Admission", key_id: str, patience: float, max_requests: int
    ) -> None:
        self._admission = admission
        self.key_id = key_id
        self.max_requests = max_requests
        """Requests of its key that may be inside at once."""
        self.patience = patience
        """Seconds that it may still wait."""
        self.left_s: float | None = None
        """Audio seconds still to be done; None until its length is known."""

    async def hold(self, audio_s: float) -> None:
        """Wait until there is room for its audio.

        Raises:
            Overloaded: there was none in time.
        """
        await self._admission.make_room(self, audio_s)

    def progress(self, audio_s: float) -> None:
        """So many more seconds of its audio are done."""
        self._admission.note(self, audio_s)


@dataclass(eq=False, slots=True)
class _Waiter:
    place: Place
    fits: Callable[[], bool]
    take: Callable[[], None]
    refuse: Callable[[], ServerError]
    granted: "asyncio.Future[None]"


class Admission:
    """Bounds on the requests inside and on their audio; closed while draining."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self._bounds = bounds
        self._clock = clock
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._places: set[Place] = set()
        self._inside: Counter[str] = Counter()
        self._at_the_door: list[_Waiter] = []
        self._for_room: list[_Waiter] = []
        self._throughput = Throughput(clock)
        self._typical_s = 30.0

    @property
    def active(self) -> int:
        """Requests that have a place."""
        return len(self._places)

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return len(self._at_the_door)

    @property
    def draining(self) -> bool:
        """Whether the door is closed."""
        return self._draining

    @property
    def backlog_s(self) -> float:
        """Audio seconds still to be done; a request of unknown length counts as a usual one."""
        known = [place.left_s for place in self._places if place.left_s is not None]
        unknown = len(self._places) - len(known) + self.waiting
        return sum(known) + unknown * self._typical_s

    @property
    def retry_after(self) -> int:
        """Whole seconds until the backlog is done, 1 to `MAX_RETRY_AFTER`."""
        seconds = math.ceil(self.backlog_s / self._throughput.rate)
        return min(max(seconds, 1), MAX_RETRY_AFTER)

    @asynccontextmanager
    async def enter(
        self, key_id: str = "", max_requests: int | None = None
    ) -> AsyncIterator[Place]:
        """A place for one request, from before its body is read until it is answered.

        `max_requests` is the key's own bound on those at once: 0 is none, None the server's.

        Raises:
            Draining: the server is about to stop.
            RateLimited: the key had all its places for as long as the request could wait.
            Overloaded: the server had none left, or too many waited.
        """
        if self._draining:
            raise _draining()
        bounds = self._bounds
        most = bounds.max_requests_per_key if max_requests is None else max_requests
        place = Place(self, key_id, bounds.max_wait, most or bounds.max_requests)
        waiter = _Waiter(
            place,
            fits=lambda: self._has_place(place),
            take=lambda: self._take_place(place),
            refuse=lambda: self._refusal(place),
            granted=asyncio.get_running_loop().create_future(),
        )
        try:
            await self._wait(waiter, self._at_the_door, may=self._may_wait(place))
            yield place
        finally:
            self._leave(place)

    async def make_room(self, place: Place, audio_s: float) -> None:
        """See `Place.hold`. A recording above the bound gets in when nothing else is there."""

        def fits() -> bool:
            held = self._held_s()
            return not held or held + audio_s <= self._bounds.max_audio_seconds

        def take() -> None:
            if not self._held_s():
                self._throughput.begin()
            place.left_s = audio_s
            self._typical_s += 0.1 * (audio_s - self._typical_s)

        granted = asyncio.get_running_loop().create_future()
        waiter = _Waiter(place, fits, take, self._overloaded, granted)
        await self._wait(waiter, self._for_room)

    def note(self, place: Place, audio_s: float) -> None:
        """See `Place.progress`."""
        done = min(audio_s, place.left_s or 0.0)
        place.left_s = (place.left_s or 0.0) - done
        self._throughput.add(done)
        self._give_room()

    def drain(self) -> None:
        """Let nobody in from now on; who waits for a place is sent away."""
        self._draining = True
        for waiter in self._at_the_door:
            if not waiter.granted.done():
                waiter.granted.set_exception(_draining())

    async def idle(self) -> None:
        """Return when no request is active."""
        await self._idle.wait()

    async def _wait(self, waiter: _Waiter, queue: list[_Waiter], *, may: bool = True) -> None:
        # Nobody is overtaken: whoever could go in was let in when that became so.
        if waiter.fits():
            waiter.take()
            return
        if not may or waiter.place.patience <= 0:
            raise waiter.refuse()
        queue.append(waiter)
        started = self._clock()
        try:
            async with asyncio.timeout(waiter.place.patience):
                await waiter.granted
        except TimeoutError:
            raise waiter.refuse() from None
        finally:
            queue.remove(waiter)
            waiter.place.patience -= self._clock() - started

    def _open_door(self) -> None:
        """Let in who fits, those first whose key has least inside."""
        while len(self._places) < self._bounds.max_requests:
            fitting = [w for w in self._at_the_door if not w.granted.done() and w.fits()]
            if not fitting:
                return
            _let_in(min(fitting, key=lambda waiter: self._inside[waiter.place.key_id]))

    def _give_room(self) -> None:
        """In order of arrival, but a short recording need not wait for room for a long one."""
        for waiter in self._for_room:
            if not waiter.granted.done() and waiter.fits():
                _let_in(waiter)

    def _has_place(self, place: Place) -> bool:
        free = len(self._places) < self._bounds.max_requests
        return free and self._inside[place.key_id] < place.max_requests

    def _may_wait(self, place: Place) -> bool:
        """Whether the waiting room has a seat for this key."""
        same = sum(other.place.key_id == place.key_id for other in self._at_the_door)
        return self.waiting < self._bounds.max_waiting and same < place.max_requests

    def _take_place(self, place: Place) -> None:
        self._places.add(place)
        self._inside[place.key_id] += 1
        self._idle.clear()

    def _leave(self, place: Place) -> None:
        if place not in self._places:
            return
        self._places.remove(place)
        self._inside[place.key_id] -= 1
        if not self._inside[place.key_id]:
            del self._inside[place.key_id]
        if not self._places:
            self._idle.set()
        self._open_door()
        self._give_room()

    def _held_s(self) -> float:
        return sum(place.left_s or 0.0 for place in self._places)

    def _refusal(self, place: Place) -> ServerError:
        """Your share, or the server's."""
        if self._inside[place.key_id] < place.max_requests:
            return self._overloaded()
        return RateLimited(
            texts.TOO_MANY_OF_KEY.filled(seconds=self.retry_after), retry_after=self.retry_after
        )

    def _overloaded(self) -> Overloaded:
        return Overloaded(
            texts.OVERLOADED.filled(seconds=self.retry_after), retry_after=self.retry_after
        )


def _let_in(waiter: _Waiter) -> None:
    waiter.take()
    waiter.granted.set_result(None)


def _draining() -> Draining:
    return Draining(texts.DRAINING, retry_after=5)
