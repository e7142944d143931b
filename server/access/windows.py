"""What is counted, here or in a Redis that servers share, and what holds while that is away.

Knows: this server's share, when Redis is lost and back, what is owed to it.
Must not know: how either counts, whose the counters are, HTTP.

While Redis does not answer, this server admits its share: the limit divided by the replicas. What
it admitted before, with Redis' leave, counts against that share. When Redis is back, what was
spent meanwhile is written to it, and for another minute the share of requests holds beside it.
"""

import asyncio
import collections
import time
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from server.access.counters import MINUTE, Count, Counter, LocalCounters
from server.access.shared import LOST, SharedCounters

PROBE_SECONDS = 1.0
"""Between two looks whether Redis is back."""

T = TypeVar("T")


class Windows:
    """Counts by name; `replicas` servers share each limit."""

    def __init__(self, redis_url: str | None = None, replicas: int = 1) -> None:
        """Connects to nothing yet.

        Raises:
            ValueError: that is no address of a Redis.
        """
        self.lost = 0
        """Times that Redis was lost."""
        self.decided_alone = 0
        """Questions that this server answered by its share because Redis was away."""
        self._replicas = replicas
        self._local = LocalCounters()
        self._shared = SharedCounters(redis_url) if redis_url else None
        self._owed: collections.Counter[Counter] = collections.Counter()
        self._strict_until = 0.0
        self._recovering: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None

    @property
    def shared(self) -> bool:
        """Whether there is a Redis, here or away."""
        return self._shared is not None

    @property
    def alone(self) -> bool:
        """Whether Redis is away."""
        return self._recovering is not None

    async def start(self) -> None:
        """See whether Redis is there; if it is not, go on without it."""
        if self._shared is not None:
            try:
                await self._shared.open()
            except LOST as error:
                self._lose(error)

    async def close(self) -> None:
        """Leave Redis."""
        for task in (self._recovering, self._settling):
            if task is not None:
                task.cancel()
                await asyncio.wait((task,))
        if self._shared is not None:
            await self._shared.close()

    async def request(self, name: str, limit: int) -> Count:
        """Admit one request of this name if fewer than `limit` came in the last minute."""
        key, share = f"requests:{name}", limit // self._replicas
        if self._shared is None:
            return await self._local.request(key, share)
        if time.time() < self._strict_until and await self._local.begun(key) >= share:
            return await self._local.request(key, share)
        count = await self._ask(self._shared.request(key, limit))
        if count is None:
            return await self._local.request(key, share)
        if count.allowed:
            await self._local.request(key, share)
        return count

    async def spend(self, counters: Sequence[Counter], amount: int) -> Counter | None:
        """Add to all of these, unless one is above its limit then: that one is the answer."""
        if hopeless := next((c for c in counters if amount > c.limit), None):
            return hopeless  # added and taken back, it would refuse others meanwhile
        shares = [replace(c, limit=c.limit // self._replicas) for c in counters]
        if self._shared is None:
            return await self._spend_here(shares, amount)
        sums = await self._ask(self._shared.add(counters, amount))
        if sums is None:
            over = await self._spend_here(shares, amount)
            if over is None:
                self._owe(counters, amount)
            return over
        for counter, total in zip(counters, sums, strict=True):
            if total > counter.limit:
                self._owe(counters, -amount)
                return counter
        await self.remember(counters, amount)
        return None

    async def give_back(self, counters: Sequence[Counter], amount: int) -> None:
        """Take from counters what was spent. Redis is told in the background."""
        for counter in counters:
            await self._local.give_back(counter.key, amount)
        if self._shared is not None:
            self._owe(counters, -amount)

    async def remember(self, counters: Sequence[Counter], amount: int) -> None:
        """Put into this server's own counters what was spent elsewhere, or before it started."""
        for counter in counters:
            await self._local.incr(counter.key, counter.expiry, amount)

    async def _spend_here(self, counters: Sequence[Counter], amount: int) -> Counter | None:
        for done, counter in enumerate(counters):
            if not await self._local.spend(counter, amount):
                for spent in counters[:done]:
                    await self._local.give_back(spent.key, amount)
                return counter
        return None

    async def _ask(self, question: Coroutine[Any, Any, T]) -> T | None:
        """Redis' answer; None if it has none in time, and at once while it is away."""
        if not self.alone:
            try:
                return await question
            except LOST as error:
                self._lose(error)
        else:
            question.close()
        self.decided_alone += 1
        return None

    def _owe(self, counters: Sequence[Counter], amount: int) -> None:
        """To be written to Redis soon, or when it is back."""
        for counter in counters:
            self._owed[counter] += amount
        if not self.alone and (self._settling is None or self._settling.done()):
            self._settling = asyncio.create_task(self._settle())

    async def _settle(self) -> None:
        """Write to Redis what is owed."""
        try:
            await self._pay()
        except LOST as error:
            self._lose(error)

    async def _pay(self) -> None:
        """Raises one of `LOST`, and keeps owing what was not written."""
        assert self._shared is not None
        while self._owed:
            counter, amount = next(iter(self._owed.items()))
            if amount and counter.until > time.time():
                await self._shared.add([counter], amount)
            self._owed[counter] -= amount
            if not self._owed[counter]:
                del self._owed[counter]

    def _lose(self, error: BaseException) -> None:
        if self.alone:
            return
        self.lost += 1
        structlog.get_logger().warning("redis_lost", error=type(error).__name__)
        self._recovering = asyncio.create_task(self._recover(self.decided_alone))

    async def _recover(self, before: int) -> None:
        """Look until Redis answers; the first look is at once, in case this server was late."""
        started = time.monotonic()
        while not await self._is_back():  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(PROBE_SECONDS)
        self._strict_until = time.time() + MINUTE
        self._recovering = None
        structlog.get_logger().warning(
            "redis_back",
            seconds=round(time.monotonic() - started, 3),
            decided_alone=self.decided_alone - before,
        )

    async def _is_back(self) -> bool:
        assert self._shared is not None
        try:
            await self._shared.find()
            await self._shared.open()
            await self._pay()
        except LOST:
            return False
        return True
