"""What was used: added up, kept, shared between processes, never lost half-way."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from server.access.usage import KEEP_DAYS, DayOfUse, Usage

DAY = 86_400
NOON = 20_000 * DAY + DAY // 2
DATE = "2024-10-04"


def play(path: Path | None, scenario: Callable[[Usage], Awaitable[None]], at: float = NOON) -> None:
    """Open, play, close."""

    async def run() -> None:
        usage = Usage(str(path) if path else None, lambda: at)
        try:
            await scenario(usage)
        finally:
            await usage.close()

    asyncio.run(run())


async def two_for_a_one_for_b(usage: Usage) -> None:
    """Three transcriptions."""
    await usage.add("a", 60.5)
    await usage.add("b", 1.0)
    await usage.add("a", 30.0)


BOTH = [DayOfUse("a", DATE, 2, 90.5), DayOfUse("b", DATE, 1, 1.0)]


def test_days_add_up_by_caller(tmp_path: Path) -> None:
    """All of them, or one's own."""

    async def scenario(usage: Usage) -> None:
        await two_for_a_one_for_b(usage)
        assert BOTH == await usage.by_day(None)
        assert BOTH[:1] == await usage.by_day("a")
        assert [] == await usage.by_day("c")

    play(tmp_path / "usage", scenario)
    play(None, scenario)


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """What was counted is in the file."""
    path = tmp_path / "usage"
    play(path, two_for_a_one_for_b)

    async def scenario(usage: Usage) -> None:
        assert BOTH == await usage.by_day(None)
        await usage.add("b", 2.0)
        assert DayOfUse("b", DATE, 2, 3.0) in await usage.by_day(None)

    play(path, scenario)


def test_today_is_told_by_hour_and_day(tmp_path: Path) -> None:
    """So that limits go on where they were."""
    path = tmp_path / "usage"
    play(path, two_for_a_one_for_b, NOON - 3600)
    play(path, two_for_a_one_for_b, NOON - DAY)

    async def scenario(usage: Usage) -> None:
        await usage.add("a", 5.0)
        assert [("a", 5.0, 95.5), ("b", 0.0, 1.0)] == await usage.of_today()

    play(path, scenario)


def test_old_days_are_dropped_at_the_start(tmp_path: Path) -> None:
    """The last ones that are kept are still there."""
    path = tmp_path / "usage"
    play(path, two_for_a_one_for_b)

    async def kept(usage: Usage) -> None:
        assert 2 == len(await usage.by_day(None))

    async def gone(usage: Usage) -> None:
        assert [] == await usage.by_day(None)

    play(path, kept, NOON + (KEEP_DAYS - 1) * DAY)
    play(path, gone, NOON + KEEP_DAYS * DAY)


def test_what_is_taken_back_is_not_shown() -> None:
    """A day on which nothing is left does not appear."""

    async def scenario(usage: Usage) -> None:
        await two_for_a_one_for_b(usage)
        await usage.add("b", -1.0, -1)
        assert BOTH[:1] == await usage.by_day(None)

    play(None, scenario)


def test_a_cancelled_count_is_a_whole_one() -> None:
    """It cannot be stopped half-way, nor before it began."""

    async def scenario(usage: Usage) -> None:
        for _ in range(20):
            task = asyncio.create_task(usage.add("a", 1.0))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert [DayOfUse("a", DATE, 20, 20.0)] == await usage.by_day(None)

    play(None, scenario)


def test_two_processes_write_to_one_file(tmp_path: Path) -> None:
    """Replicas on one machine are added up."""

    async def scenario(one: Usage) -> None:
        two = Usage(str(tmp_path / "usage"), lambda: NOON)
        await asyncio.gather(*(usage.add("a", 1.0) for usage in (one, two) for _ in range(50)))
        assert [DayOfUse("a", DATE, 100, 100.0)] == await one.by_day(None)
        await two.close()

    play(tmp_path / "usage", scenario)


def test_what_cannot_be_written_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, with the next count; the answer does not wait for it, and the log tells."""
    monkeypatch.setattr("server.access.usage.BUSY_SECONDS", 0.01)
    path = tmp_path / "usage"

    async def scenario(usage: Usage) -> None:
        with sqlite3.connect(path) as other:
            other.execute("BEGIN EXCLUSIVE")
            await usage.add("a", 1.0)
            await usage.add("a", 2.0)
            other.rollback()
        other.close()
        assert [] == await usage.by_day(None)
        await usage.add("b", 4.0)
        assert [DayOfUse("a", DATE, 2, 3.0), DayOfUse("b", DATE, 1, 4.0)] == (
            await usage.by_day(None)
        )

    play(path, scenario)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """At the start."""
    path = tmp_path / "usage"
    path.write_text("something else, and long enough to be no database at all" * 20)

    with pytest.raises(sqlite3.Error):
        Usage(str(path))
