"""Requests that may come more than once: worked on once, answered the same each time.

Knows: leases, heartbeats, what a try leaves behind that fails or dies.
Must not know: SQL, HTTP, what a request asks for.
"""

import asyncio
import contextlib
import time
import uuid
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from sqlalchemy import Connection

from server import texts
from server.errors import IdempotencyKeyInUse, IdempotencyKeyReused, JobsUnavailable
from server.jobs import answers
from server.jobs.database import Database
from server.jobs.turn import Answer, Held, Repeatable, Turn

RETRY_SECONDS = 5
"""What a client is told to wait while the same request is worked on."""


class Repeats:
    """In the database of jobs, so that all servers of one queue and all starts know them."""

    def __init__(
        self,
        database: Database,
        *,
        lease: float,
        kept_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """A try not heard of for `lease` seconds is over; an answer is kept for `kept_s`."""
        self._database = database
        self._lease = lease
        self._kept_s = kept_s
        self._clock = clock

    @asynccontextmanager
    async def turn(self, owner: str, key: str, fingerprint: bytes) -> AsyncIterator[Turn]:
        """Work on a request, or have its answer. What ends without an answer may be tried again.

        Raises:
            IdempotencyKeyReused: the key was used for another request.
            IdempotencyKeyInUse: the same request is worked on now.
            JobsUnavailable: the database failed.
        """
        turn = await self._begin(Repeatable(owner, key, fingerprint))
        if turn.held is None:
            yield turn
            return
        holding = asyncio.create_task(self._hold(turn.held))
        try:
            yield turn
        finally:
            holding.cancel()
            await asyncio.wait([holding])
            if turn.answer is None:
                release = partial(answers.let_go, held=turn.held, keep_charge=bool(turn.spent))
                with contextlib.suppress(JobsUnavailable):  # then the lease ends by itself
                    await self._database.run(release)

    async def _begin(self, request: Repeatable) -> Turn:
        now = self._clock()
        new = Held(request, uuid.uuid4().hex, uuid.uuid4().hex)
        work = partial(
            answers.take,
            new=new,
            now=now,
            lease_until=now + self._lease,
            expires=now + self._kept_s,
        )
        found = await self._database.run(work)
        match found:
            case Held():
                return Turn(held=found, spent=found.spent)
            case answers.Differs():
                raise IdempotencyKeyReused(texts.IDEMPOTENCY_KEY_REUSED)
            case answers.Busy():
                text = texts.IDEMPOTENCY_KEY_IN_USE.filled(wait=RETRY_SECONDS)
                raise IdempotencyKeyInUse(text, retry_after=RETRY_SECONDS)
        content = found.content
        if content is not None:
            content = await asyncio.to_thread(zlib.decompress, content)
        return Turn(answer=Answer(content, found.content_type, found.warnings, found.job))

    async def _hold(self, held: Held) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            until = self._clock() + self._lease
            with contextlib.suppress(JobsUnavailable):
                await self._database.run(partial(answers.renew, held=held, lease_until=until))

    async def charged(self, turn: Turn) -> None:
        """It was charged: if this try dies, the next one has paid."""
        if turn.held is not None and turn.spent is not None:
            work = partial(answers.charge, held=turn.held, spent=turn.spent)
            await self._database.run(work)

    async def keep(self, turn: Turn, content: bytes, content_type: str, warnings: str) -> None:
        """The answer, before anybody is told.

        If the database fails now, the client has its answer all the same; a repeat makes it anew.
        """
        assert turn.held is not None, "This is a bug: an answer is kept twice."
        packed = await asyncio.to_thread(zlib.compress, content, 1)
        answer = Answer(packed, content_type, warnings, None)
        work = partial(self._finish, held=turn.held, answer=answer)
        with contextlib.suppress(JobsUnavailable):
            await self._database.run(work, durable=True)
            turn.answer = answer

    def keep_job(self, connection: Connection, turn: Turn, job_id: str) -> None:
        """The answer is this job; within the transaction that writes it, so both are or neither.

        Raises:
            JobsUnavailable: this try was taken for dead, and another one is under way.
        """
        assert turn.held is not None, "This is a bug: a job is kept twice."
        answer = Answer(None, "", "", job_id)
        if not self._finish(connection, turn.held, answer):
            raise JobsUnavailable(texts.JOBS_UNAVAILABLE, retry_after=1, reason="lease_lost")

    def _finish(self, connection: Connection, held: Held, answer: Answer) -> bool:
        return answers.finish(connection, held, answer, self._clock() + self._kept_s)

    async def sweep(self) -> None:
        """Free what is over."""
        await self._database.run(partial(answers.forget, now=self._clock()))
