"""Who computes next where only one can: the smallest piece of work, then the first to ask.

Knows: sizes and the order of asking.
Must not know: what is computed.
"""

import heapq
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Line:
    """Threads wait in it for their turn; a small one goes ahead of large ones."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int]] = []
        self._numbers = itertools.count()
        self._busy = False

    @contextmanager
    def turn(self, size: int) -> Iterator[None]:
        """Wait until it is this one's turn; leaving the context lets the next one in."""
        ticket = (size, next(self._numbers))
        with self._changed:
            heapq.heappush(self._waiting, ticket)
            while self._busy or self._waiting[0] != ticket:
                self._changed.wait()
            heapq.heappop(self._waiting)
            self._busy = True
        try:
            yield
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
