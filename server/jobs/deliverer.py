"""Sends the webhooks of jobs that have ended: when each is due, again if that failed, for a day.

Knows: leases, delays, how many at once to one receiver.
Must not know: SQL, HTTP, what an event says.
"""

import asyncio
import contextlib
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import structlog

from server.errors import InternalError, JobsUnavailable
from server.jobs import outbox
from server.jobs.database import Database
from server.jobs.outbox import Due
from server.jobs.record import Told
from server.webhooks.events import headers_of
from server.webhooks.sender import TIMEOUT, Outcome

DELAYS = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800)
"""Seconds between two tries, 23.7 hours in all, give or take what `SPREAD` does."""

SPREAD = 0.2
"""Of a delay, either way, so that what failed together does not come back together."""

LEASE = 4 * TIMEOUT
"""After which another server may send it: this one is dead, and may have sent it."""

AT_ONCE = 16
AT_ONCE_TO_A_HOST = 4
"""So that one receiver that hangs does not hold the others' webhooks up."""

POLL_SECONDS = 1.0
STOP_SECONDS = 2.0
"""How long a stop waits for tries that run, before it lets go of them."""


class Sends(Protocol):
    """See `server.webhooks.sender.Sender`."""

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> tuple[Outcome, str]:
        """What came of it, and a word for it."""
        ...


class Deliverer:
    """One for each server; all of them share the table."""

    def __init__(
        self,
        database: Database,
        sender: Sends,
        secrets: Sequence[bytes],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._sender = sender
        self._secrets = secrets
        self._clock = clock
        self.told: Counter[Told] = Counter()
        """What came of this server's tries."""
        self._sending: dict[asyncio.Task[None], Due] = {}
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send."""
        self._loop = asyncio.create_task(self._run())

    def wake(self) -> None:
        """A job has ended."""
        self._wake.set()

    async def stop(self) -> None:
        """Take no more; what is being sent gets a moment, and is then another server's."""
        if self._loop is None:
            return
        self._loop.cancel()
        await asyncio.wait([self._loop])
        if self._sending:
            await asyncio.wait(list(self._sending), timeout=STOP_SECONDS)
        for task in list(self._sending):
            task.cancel()
        if self._sending:
            await asyncio.wait(list(self._sending))

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(JobsUnavailable):
                while len(self._sending) < AT_ONCE and await self._take_one():
                    pass
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()

    async def _take_one(self) -> bool:
        now, hosts = self._clock(), Counter(each.host for each in self._sending.values())
        busy = [host for host, count in hosts.items() if count >= AT_ONCE_TO_A_HOST]
        work = partial(outbox.claim, now=now, until=now + LEASE, token=uuid.uuid4().hex, busy=busy)
        due = await self._database.run(work)
        if due is None:
            return False
        task = asyncio.create_task(self._send(due))
        self._sending[task] = due
        task.add_done_callback(self._sent)
        return True

    def _sent(self, task: asyncio.Task[None]) -> None:
        del self._sending[task]
        self._wake.set()

    async def _send(self, due: Due) -> None:
        started = time.monotonic()
        headers = headers_of(self._secrets, due.owner, due.id, due.body, self._clock())
        try:
            outcome, why = await self._sender.post(due.url, headers, due.body)
        except asyncio.CancelledError:
            with contextlib.suppress(JobsUnavailable):
                await self._database.run(partial(outbox.let_go, one=due, now=self._clock()))
            raise
        except Exception as error:  # noqa: BLE001 - a try without an outcome would come for ever
            structlog.get_logger().error("fault", code=InternalError.code, exc_info=error)
            outcome, why = "failed", type(error).__name__
        told, at = self._told(outcome, due.attempts)
        state = "pending" if told == "failed" else told
        with contextlib.suppress(JobsUnavailable):  # then it is sent again, under the same id
            work = partial(outbox.settle, one=due, state=state, due=at, outcome=why)
            await self._database.run(work, durable=told == "delivered")
        self.told[told] += 1
        structlog.get_logger().info(
            "webhook",
            webhook=due.id,
            job=due.job_id,
            name=due.owner,
            state=told,
            outcome=why,
            attempts=due.attempts,
            total_s=round(time.monotonic() - started, 3),
        )

    def _told(self, outcome: Outcome, attempts: int) -> tuple[Told, float]:
        """What came of it, and when it is due again, or since when it is over."""
        now = self._clock()
        if outcome == "delivered":
            return "delivered", now
        if outcome == "gone" or attempts > len(DELAYS):
            return "dead", now
        delay = DELAYS[attempts - 1] * random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311 - no secret
        return "failed", now + delay
