"""What every caller has used, by hour, kept across restarts.

Knows: SQLite, a thread of its own.
Must not know: limits, HTTP.

A count is on its way to the disk before the answer is: it survives the end of the process, however
that comes. What cannot be written is kept in memory and written with the next count.
"""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import structlog

HOUR, DAY = 3_600, 86_400
KEEP_DAYS = 92
"""As many are kept and shown."""

BUSY_SECONDS = 5.0
"""Another process may be writing to the same file."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS usage (
    name TEXT NOT NULL,
    hour INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    audio_ms INTEGER NOT NULL,
    PRIMARY KEY (name, hour)
) WITHOUT ROWID
"""
COUNTED = """
CREATE TABLE IF NOT EXISTS counted (id TEXT PRIMARY KEY, hour INTEGER NOT NULL) WITHOUT ROWID
"""
ADD = """
INSERT INTO usage VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    requests = requests + excluded.requests, audio_ms = audio_ms + excluded.audio_ms
"""
BY_DAY = """
SELECT name, hour / 24 AS day, sum(requests), sum(audio_ms) FROM usage
    WHERE ?1 IS NULL OR name = ?1 GROUP BY name, day HAVING sum(requests) ORDER BY day, name
"""
OF_TODAY = """
SELECT name, sum(audio_ms) FILTER (WHERE hour = ?1), sum(audio_ms) FROM usage
    WHERE hour / 24 = ?1 / 24 GROUP BY name
"""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DayOfUse:
    """One caller's day, in UTC: transcriptions that were answered, and their audio."""

    name: str
    day: str
    requests: int
    audio_s: float


class Usage:
    """One SQLite file, or none: then a restart forgets."""

    def __init__(self, path: str | None, clock: Callable[[], float] = time.time) -> None:
        """Open the file, and make it if it is not there; blocks.

        Raises:
            sqlite3.Error: it cannot be opened or written.
        """
        self._clock = clock
        self._pending: Counter[tuple[str, int, str]] = Counter()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="usage")
        self._database = sqlite3.connect(
            path or ":memory:", timeout=BUSY_SECONDS, check_same_thread=False
        )
        with self._database:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(SCHEMA)
            oldest = (int(clock()) // DAY - KEEP_DAYS + 1) * 24
            self._database.execute(COUNTED)
            for table in ("usage", "counted"):
                self._database.execute(f"DELETE FROM {table} WHERE hour < ?", (oldest,))  # noqa: S608

    async def close(self) -> None:
        """Write what is pending, and close the file."""
        await self._run(self._write)
        await self._run(self._database.close)
        self._thread.shutdown()

    async def add(self, name: str, audio_s: float, requests: int = 1) -> None:
        """Count a transcription; negative values take one back. Cannot be cancelled half-way."""
        ms = round(audio_s * 1000)
        await asyncio.shield(self._run(partial(self._add, name, ms, requests)))

    async def add_once(self, name: str, audio_s: float, once: str) -> None:
        """Count a transcription, unless one of this id was counted before."""
        await asyncio.shield(self._run(partial(self._add_once, name, audio_s, once)))

    async def by_day(self, name: str | None) -> list[DayOfUse]:
        """One caller's days, or everybody's, oldest first."""
        rows = await self._run(partial(self._select, BY_DAY, name))
        return [
            DayOfUse(
                who, datetime.fromtimestamp(day * DAY, UTC).date().isoformat(), requests, ms / 1000
            )
            for who, day, requests, ms in rows
        ]

    async def of_today(self) -> list[tuple[str, float, float]]:
        """Each caller's seconds of audio in this hour, and on this day."""
        rows = await self._run(partial(self._select, OF_TODAY, int(self._clock()) // HOUR))
        return [(name, (hour or 0) / 1000, day / 1000) for name, hour, day in rows]

    def _run(self, call: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _select(self, query: str, value: object) -> list[Any]:
        return self._database.execute(query, (value,)).fetchall()

    def _add(self, name: str, ms: int, requests: int) -> None:
        hour = int(self._clock()) // HOUR
        self._pending[name, hour, "requests"] += requests
        self._pending[name, hour, "audio_ms"] += ms
        self._write()

    def _add_once(self, name: str, audio_s: float, once: str) -> None:
        hour, ms = int(self._clock()) // HOUR, round(audio_s * 1000)
        mark = ("INSERT INTO counted VALUES (?, ?) ON CONFLICT DO NOTHING", (once, hour))
        try:
            with self._database:
                if self._database.execute(*mark).rowcount:
                    self._database.execute(ADD, (name, hour, 1, ms))
        except sqlite3.Error:
            self._add(name, ms, 1)  # kept in memory, and logged

    def _write(self) -> None:
        """In one transaction; on failure everything stays pending."""
        rows = [
            (
                name,
                hour,
                self._pending[name, hour, "requests"],
                self._pending[name, hour, "audio_ms"],
            )
            for name, hour in {(name, hour) for name, hour, _ in self._pending}
        ]
        try:
            with self._database:
                self._database.executemany(ADD, rows)
        except sqlite3.Error as error:
            structlog.get_logger().error("usage_not_written", exc_info=error)
        else:
            self._pending.clear()
