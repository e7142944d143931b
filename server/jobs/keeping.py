"""Windows on their way from a transcription to the table.

Knows: what is written already, what is not, and when the job was lost.
Must not know: SQL, engines, what a window holds.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from server.errors import JobsUnavailable
from server.jobs import queue
from server.jobs.database import Database
from server.jobs.record import WindowDone
from server.kept import Kept, Plan, SpanState
from server.types import Segment

RETRY_SECONDS = 1.0
"""After the database failed."""


def kept_of(rows: Sequence[WindowDone]) -> Kept:
    """Rows as they were written, put together."""
    plan: Plan | None = None
    told: dict[int, list[Segment]] = {}
    states: dict[int, SpanState] = {}
    for row in rows:
        plan = plan or row.plan
        if row.state is not None:
            told.setdefault(row.span, []).extend(row.told)
            states[row.span] = row.state
    return Kept(plan, told, states)


class WindowWriter:
    """A `Keeper` whose rows go to the table as fast as that takes them, several at a time."""

    def __init__(
        self, database: Database, lease: queue.Lease, written: int, on_lost: Callable[[], object]
    ) -> None:
        """`written` rows are there already; `on_lost` is called once the job is another's."""
        self._database = database
        self._lease = lease
        self._next = written
        self._on_lost = on_lost
        self._planned = written > 0
        self._rows: list[WindowDone] = []
        self._more = asyncio.Event()
        self.windows = 0
        """Those that were computed here."""
        self.done_s = 0.0
        """Seconds of audio that are done, by whomever."""

    def plan(self, plan: Plan) -> None:
        """Written once."""
        if not self._planned:
            self._planned = True
            self._put(WindowDone(plan=plan))

    def window(self, span: int, told: Sequence[Segment], state: SpanState) -> None:
        """See `Keeper`."""
        self.windows += 1
        self._put(WindowDone(None, span, tuple(told), state))

    def progress(self, audio_s: float) -> None:
        """So many more seconds are done."""
        self.done_s += audio_s

    async def run(self) -> None:
        """Write until cancelled, or until the job is lost."""
        while True:
            await self._more.wait()
            self._more.clear()
            rows, done_s = list(self._rows), self.done_s
            work = partial(
                queue.keep, lease=self._lease, first=self._next, rows=rows, done_s=done_s
            )
            try:
                held = await self._database.run(work)
            except JobsUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
                self._more.set()
                continue
            if not held:
                self._on_lost()
                return
            self._next += len(rows)
            del self._rows[: len(rows)]

    def _put(self, row: WindowDone) -> None:
        self._rows.append(row)
        self._more.set()
