"""What becomes of a try, and when the next one is: on a table, with a scripted sender."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
from sqlalchemy import Connection, update
from tables import Tables
from test_outbox import end_one

from server.jobs import outbox
from server.jobs.deliverer import AT_ONCE_TO_A_HOST, DELAYS, SPREAD, Deliverer
from server.jobs.outbox import Found
from server.jobs.schema import WEBHOOKS
from server.webhooks.sender import Outcome

Answer: TypeAlias = Callable[[str], Awaitable[tuple[Outcome, str]]]


class Scripted:
    """Says what a test says of a URL."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.urls: Counter[str] = Counter()

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> tuple[Outcome, str]:
        """As the real one."""
        assert headers["webhook-id"].startswith("msg_")
        assert body
        self.urls[url] += 1
        return await self._answer(url)


def play(tables: Tables, answer: Answer, done: Callable[[Deliverer], bool]) -> Scripted:
    """A deliverer at work until it is so; it is a hundred o'clock."""
    sender = Scripted(answer)

    async def run() -> None:
        database = tables.other()
        found = Deliverer(database, sender, (b"x" * 24,), clock=lambda: 100.0)
        found.start()
        async with asyncio.timeout(20):
            while not done(found):
                await asyncio.sleep(0.01)
        await found.stop()
        await database.close()

    asyncio.run(run())
    return sender


def row(tables: Tables) -> Found:
    """The only webhook."""
    states = ("pending", "dead", "delivered")
    (found,) = tables.do(lambda connection: outbox.listed(connection, states, 9))
    return found


def after(tables: Tables, attempts: int) -> None:
    """So many tries have failed, and it is due."""

    def work(connection: Connection) -> None:
        connection.execute(update(WEBHOOKS).values(attempts=attempts, due=0.0))

    tables.do(work)


async def fails(_url: str) -> tuple[Outcome, str]:
    """A receiver that is away."""
    return "failed", "503"


async def breaks(_url: str) -> tuple[Outcome, str]:
    """A bug of ours."""
    raise RuntimeError("x")


def once(found: Deliverer) -> bool:
    """One try is over."""
    return bool(found.told)


@pytest.mark.parametrize(("answer", "why"), [(fails, "503"), (breaks, "RuntimeError")])
@pytest.mark.parametrize("attempt", [1, 2, len(DELAYS)])
def test_a_failed_try_is_due_again(tables: Tables, answer: Answer, why: str, attempt: int) -> None:
    """After the delay of its number, more or less; also where the fault is ours."""
    end_one(tables)
    after(tables, attempt - 1)
    play(tables, answer, once)
    found = row(tables)

    assert ("pending", attempt, why) == (found.state, found.attempts, found.outcome)
    delay = DELAYS[attempt - 1]
    assert (1 - SPREAD) * delay <= found.due - 100 <= (1 + SPREAD) * delay


def test_the_last_try_is_the_last(tables: Tables) -> None:
    """A day after the first one it is dead, until somebody sends it again."""
    end_one(tables)
    after(tables, len(DELAYS))
    play(tables, fails, once)
    assert ("dead", len(DELAYS) + 1) == (row(tables).state, row(tables).attempts)
    assert 23 * 3_600 < sum(DELAYS) < 24 * 3_600


def test_a_receiver_that_hangs_holds_its_own_up(tables: Tables) -> None:
    """Only so many wait for it; what others are to hear goes on."""
    for _ in range(2 * AT_ONCE_TO_A_HOST):
        end_one(tables, "slow.example")
    for _ in range(20):
        end_one(tables, "fast.example")

    async def answer(url: str) -> tuple[Outcome, str]:
        if "slow" in url:
            await asyncio.Event().wait()
        return "delivered", "200"

    sender = play(tables, answer, lambda found: found.told["delivered"] == 20)
    assert {"https://fast.example/": 20, "https://slow.example/": AT_ONCE_TO_A_HOST} == sender.urls
