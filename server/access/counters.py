"""Counters over time in this process' memory, by limits' algorithms.

Knows: moving windows of a minute, counters that end.
Must not know: what is counted, Redis, HTTP.
"""

import time
from dataclasses import dataclass

from limits.aio.storage import MemoryStorage

MINUTE = 60
SWEEP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Count:
    """Whether one more was admitted, how many are left, and seconds until a next one is free."""

    allowed: bool
    limit: int
    remaining: int
    reset: float


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter that ends at an instant of `time.time`, and what it may reach."""

    key: str
    limit: int
    until: float

    @property
    def expiry(self) -> int:
        """Whole seconds that it still has."""
        return max(round(self.until - time.time()), 1)


def counted(*, allowed: bool, limit: int, begun: int, oldest: float) -> Count:
    """What a moving window says: `begun` in the last minute, the first of them at `oldest`."""
    reset = min(max(oldest + MINUTE - time.time(), 0.0), MINUTE)
    return Count(allowed, limit, max(limit - begun, 0) if allowed else 0, reset)


class LocalCounters(MemoryStorage):
    """Storage of limits, swept in place.

    Its own sweep runs after each count, hops to a thread for every counter and holds the
    counter's lock meanwhile: with a busy thread pool, requests would wait for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._swept = time.monotonic()

    async def _MemoryStorage__schedule_expiry(self) -> None:  # noqa: N802 - limits' private name
        if time.monotonic() - self._swept < SWEEP_SECONDS:
            return
        self._swept, now = time.monotonic(), time.time()
        for key in [key for key, events in self.events.items() if events[0].expiry <= now]:
            await self.clear(key)
        for key in [key for key, expiry in self.expirations.items() if expiry <= now]:
            await self.clear(key)

    @property
    def size(self) -> int:
        """Counters that are kept."""
        return len(self.storage) + len(self.events)

    async def request(self, key: str, limit: int) -> Count:
        """One more, if fewer than `limit` came in the last minute."""
        allowed = await self.acquire_entry(key, limit, MINUTE)
        oldest, begun = await self.get_moving_window(key, max(limit, 1), MINUTE)
        return counted(allowed=allowed, limit=limit, begun=begun, oldest=oldest)

    async def begun(self, key: str) -> int:
        """How many came in the last minute."""
        return (await self.get_moving_window(key, 1, MINUTE))[1]

    async def spend(self, counter: Counter, amount: int) -> bool:
        """Add to a counter, unless that is above its limit."""
        if await self.get(counter.key) + amount > counter.limit:
            return False
        await self.incr(counter.key, counter.expiry, amount)
        return True

    async def give_back(self, key: str, amount: int) -> None:
        """Take from a counter; never more than is in it."""
        if await self.get(key) >= amount:
            await self.decr(key, amount)
