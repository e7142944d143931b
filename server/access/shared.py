"""Counters in a Redis that servers share, by limits' algorithms.

Knows: limits' scripts, redis-py, how long Redis may take.
Must not know: what is counted, what holds when Redis is away.

Who asks in the same turn of the event loop goes in one batch: hundreds of questions at once are a
few round trips.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from limits.aio.storage.redis.bridge import RedisBridge
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from server.access.counters import MINUTE, Count, Counter, counted

TICK_SECONDS = 0.005
TICKS = 9
"""For an answer: 45 ms. A request asks twice, so it waits 90 ms at the most. Ticks are counted one
by one, so that a process that is late itself does not take that for Redis' silence: in each tick
it has looked for an answer.
"""

LOST = (RedisError, OSError)
"""What it means that Redis is away; a TimeoutError is an OSError."""

Command = tuple[AsyncScript, str, Sequence[object]]


@dataclass(eq=False, slots=True)
class _Question:
    commands: Sequence[Command]
    answer: "asyncio.Future[list[Any]]"


class SharedCounters:
    """Every question raises one of `LOST` if Redis fails, or does not answer in time."""

    def __init__(self, url: str) -> None:
        """Connects to nothing yet.

        Raises:
            ValueError: that is no address of a Redis.
        """
        self._redis = Redis.from_url(url, retry=Retry(NoBackoff(), 0))
        self._acquire = self._redis.register_script(RedisBridge.SCRIPT_ACQUIRE_MOVING_WINDOW)
        self._window = self._redis.register_script(RedisBridge.SCRIPT_MOVING_WINDOW)
        self._incr = self._redis.register_script(RedisBridge.SCRIPT_INCR_EXPIRE)
        self._asked: list[_Question] = []
        self._batches: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """See whether Redis is there, and give it the scripts."""
        scripts = (self._acquire, self._window, self._incr)
        await self._in_time(asyncio.gather(*(self._redis.script_load(s.script) for s in scripts)))

    async def find(self) -> None:
        """Look the host's name up, for as long as that takes.

        It is done in a thread, and whoever was impatient would leave one behind each time.

        Raises:
            OSError: there is no such host.
        """
        host = self._redis.connection_pool.connection_kwargs.get("host")
        if host is not None:
            await asyncio.get_running_loop().getaddrinfo(host, None)

    async def close(self) -> None:
        """Leave Redis; whoever still asks has lost it."""
        for batch in self._batches:
            batch.cancel()
        if self._batches:
            await asyncio.wait(self._batches)
        await self._redis.aclose()

    async def request(self, key: str, limit: int) -> Count:
        """One more, if fewer than `limit` came in the last minute."""
        now = time.time()
        allowed, window = await self._ask(
            (self._acquire, key, (now, limit, MINUTE, 1)),
            (self._window, key, (now - MINUTE, limit)),
        )
        oldest, begun = (float(window[0]), int(window[1])) if window else (now, 0)
        return counted(allowed=bool(allowed), limit=limit, begun=begun, oldest=oldest)

    async def add(self, counters: Sequence[Counter], amount: int) -> list[int]:
        """Add to counters, whatever their limits; what they hold now."""
        answers = await self._ask(*((self._incr, c.key, (c.expiry, amount)) for c in counters))
        return [int(answer) for answer in answers]

    async def _ask(self, *commands: Command) -> list[Any]:
        """The answers to these commands, with others' in one batch."""
        loop = asyncio.get_running_loop()
        question = _Question(commands, loop.create_future())
        self._asked.append(question)
        if len(self._asked) == 1:
            loop.call_soon(self._begin)
        return await question.answer

    def _begin(self) -> None:
        """Send what was asked by now."""
        batch, self._asked = self._asked, []
        talking = asyncio.create_task(self._talk(batch))
        self._batches.add(talking)
        talking.add_done_callback(self._batches.discard)

    async def _talk(self, batch: Sequence[_Question]) -> None:
        """One round trip; a failure is that of all who asked."""
        try:
            answers = iter(await self._in_time(self._send(batch)))
        except (*LOST, asyncio.CancelledError) as error:
            for question in batch:
                if not question.answer.done():
                    question.answer.set_exception(error if isinstance(error, LOST) else OSError())
            return
        for question in batch:
            replies = [next(answers) for _ in question.commands]
            if not question.answer.done():
                question.answer.set_result(replies)

    async def _send(self, batch: Sequence[_Question]) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for question in batch:
            for script, key, arguments in question.commands:
                pipe.evalsha(script.sha, 1, f"sussurro:{key}", *map(str, arguments))
        replies: list[Any] = await pipe.execute()
        return replies

    async def _in_time(self, asked: Any) -> Any:  # noqa: ANN401 - redis-py's answers have no type
        """The answer.

        Raises:
            TimeoutError: there was none in all the ticks.
        """
        answer = asyncio.ensure_future(asked)
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            for _ in range(TICKS):
                await asyncio.wait((answer,), timeout=TICK_SECONDS)
                if answer.done():
                    return answer.result()
            raise TimeoutError
        finally:
            answer.cancel()
