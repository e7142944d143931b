"""Requests that are sent again: tried by one at a time, paid once, answered the same."""

import asyncio
import contextlib
import zlib
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from new_jobs import SPENT, new_job
from tables import Tables

from server.errors import IdempotencyKeyInUse, IdempotencyKeyReused, JobsUnavailable
from server.jobs import answers, table
from server.jobs.repeats import Repeats
from server.jobs.turn import Answer

PRINT = b"print"


class Clock:
    """Says what a test wants."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """One a test."""
    return Clock()


def told(tables: Tables, clock: Clock, story: Callable[[Repeats], Awaitable[None]]) -> None:
    """A story of one server's."""
    asyncio.run(story(Repeats(tables.database, lease=10.0, kept_s=100.0, clock=clock)))  # type: ignore[arg-type]


def test_keys_are_each_callers_own(tables: Tables, clock: Clock) -> None:
    """Two callers may take the same one, for different requests."""

    async def story(repeats: Repeats) -> None:
        async with repeats.turn("a", "k", PRINT) as mine, repeats.turn("b", "k", b"x") as other:
            await repeats.keep(mine, b"a's", "text/plain", "")
            await repeats.keep(other, b"b's", "text/plain", "w")
        async with repeats.turn("b", "k", b"x") as again:
            assert Answer(b"b's", "text/plain", "w", None) == again.answer
            assert again.held is None

    told(tables, clock, story)


def test_one_of_many_at_once_may_begin(tables: Tables, clock: Clock) -> None:
    """From several servers' connections, too."""

    async def story(repeats: Repeats) -> None:
        other = Repeats(tables.other(), lease=10.0, kept_s=100.0, clock=clock)
        done = asyncio.Event()

        async def one(server: Repeats) -> bool:
            try:
                async with server.turn("a", "k", PRINT) as turn:
                    await done.wait()
                    await server.keep(turn, b"x", "", "")
                    return True
            except IdempotencyKeyInUse:
                return False

        tries = [asyncio.create_task(one((repeats, other)[n % 2])) for n in range(50)]
        while sum(task.done() for task in tries) < 49:
            await asyncio.sleep(0.01)
        done.set()
        assert 1 == sum([await task for task in tries])
        await other._database.close()

    told(tables, clock, story)


def test_a_try_that_died_is_taken_over_without_paying(tables: Tables, clock: Clock) -> None:
    """Once its lease is over; the one that was taken for dead can keep nothing then."""

    async def story(repeats: Repeats) -> None:
        dead = await repeats._begin(answers.Repeatable("a", "k", PRINT))
        dead.spent = SPENT
        await repeats.charged(dead)
        clock.now += 9
        with pytest.raises(IdempotencyKeyInUse):
            await repeats._begin(answers.Repeatable("a", "k", PRINT))
        clock.now += 2
        with pytest.raises(IdempotencyKeyReused):
            await repeats._begin(answers.Repeatable("a", "k", b"other"))
        async with repeats.turn("a", "k", PRINT) as turn:
            assert SPENT == turn.spent
            assert dead.held is not None
            assert turn.held is not None
            assert (dead.held.id, False) == (turn.held.id, dead.held.claim == turn.held.claim)
            await repeats.keep(dead, b"late", "", "")
            with pytest.raises(JobsUnavailable):
                await tables.database.run(partial(repeats.keep_job, turn=dead, job_id="job_x"))
            await repeats.keep(turn, b"answer", "", "")
        assert (
            zlib.decompress(
                tables.do(lambda c: c.exec_driver_sql("SELECT content FROM answers")).scalar_one()
            )
            == b"answer"
        )

    told(tables, clock, story)


@pytest.mark.parametrize("paid", [False, True])
def test_a_try_that_ends_without_an_answer_frees_its_key(
    tables: Tables, clock: Clock, *, paid: bool
) -> None:
    """At once; what it was charged and did not give back is the next one's."""

    async def story(repeats: Repeats) -> None:
        with contextlib.suppress(RuntimeError):
            async with repeats.turn("a", "k", PRINT) as turn:
                turn.spent = SPENT if paid else None
                await repeats.charged(turn)
                raise RuntimeError
        async with repeats.turn("a", "k", PRINT) as turn:
            assert (SPENT if paid else None) == turn.spent

    told(tables, clock, story)


def test_a_lease_is_renewed(tables: Tables, clock: Clock) -> None:
    """A long request stays in one hand."""

    async def story(_: Repeats) -> None:
        repeats = Repeats(tables.database, lease=0.3, kept_s=100.0)
        async with repeats.turn("a", "k", PRINT):
            await asyncio.sleep(0.7)
            with pytest.raises(IdempotencyKeyInUse):
                await repeats._begin(answers.Repeatable("a", "k", PRINT))

    told(tables, clock, story)


def test_answers_are_forgotten_after_their_time(tables: Tables, clock: Clock) -> None:
    """By the sweep, and by whoever asks before it."""

    async def story(repeats: Repeats) -> None:
        for key in ("swept", "asked"):
            async with repeats.turn("a", key, PRINT) as turn:
                await repeats.keep(turn, b"x", "", "")
        clock.now += 99
        await repeats.sweep()
        assert (await repeats._begin(answers.Repeatable("a", "asked", PRINT))).answer is not None
        clock.now += 2
        assert (await repeats._begin(answers.Repeatable("a", "asked", b"new"))).held is not None
        await repeats.sweep()

    told(tables, clock, story)
    rows = tables.do(lambda c: c.exec_driver_sql("SELECT key FROM answers").scalars().all())
    assert ["asked"] == rows


def test_a_job_and_its_key_are_written_together(tables: Tables, clock: Clock) -> None:
    """If one fails, neither is there."""

    async def story(repeats: Repeats) -> None:
        new = new_job()
        async with repeats.turn("a", "k", PRINT) as turn:

            def both(connection: answers.Connection) -> None:
                repeats.keep_job(connection, turn, new.id)
                table.add(connection, new)
                raise RuntimeError

            with pytest.raises(RuntimeError):
                await tables.database.run(both)
        async with repeats.turn("a", "k", PRINT) as turn:
            assert turn.answer is None

    told(tables, clock, story)
    assert (0, 0, 0.0) == tables.do(partial(table.count_open, owner="a"))
