"""How late this process is by itself: the machine's fault, and not that of what it waits for."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

TICK = 0.005


class Lateness:
    """Wakes each `TICK` seconds, and notes by how much too late."""

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []

    def waited(self, started: float, seconds: float) -> float:
        """What of a wait on this event loop is not its own lateness."""
        within = (by for due, by in self._late if started - TICK <= due <= started + seconds)
        return seconds - sum(within)

    @classmethod
    @contextlib.asynccontextmanager
    async def watched(cls) -> AsyncIterator["Lateness"]:
        """While the block runs."""
        lateness = cls()
        watch = asyncio.create_task(lateness._watch())
        try:
            yield lateness
            await asyncio.sleep(2 * TICK)  # what is late at the end is noted, too
        finally:
            watch.cancel()

    async def _watch(self) -> None:
        while True:
            due = time.monotonic() + TICK
            await asyncio.sleep(TICK)
            self._late.append((due, time.monotonic() - due))
