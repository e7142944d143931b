"""How many requests a server is sent at once: fewer when it says that it is full.

Knows: refusals, pauses, a bound.
Must not know: HTTP, what is sent.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition


class Pace:
    """Half as many after a refusal, one more after a full round of answers, never above the bound.

    Source: additive increase, multiplicative decrease, as TCP has it (RFC 5681). Refusals of
    requests that were under way together count as one.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = most
        self._most = most
        self._clock = clock
        self._running = 0
        self._answers = 0
        self._resume_at = 0.0
        self._changed = Condition()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a place and for the end of a pause, and hold the place."""
        with self._changed:
            while (left := self._resume_at - self._clock()) > 0 or self._running >= self.limit:
                self._changed.wait(left if left > 0 else None)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def answered(self) -> None:
        """A request went well."""
        with self._changed:
            self._answers += 1
            if self._answers >= self.limit and self.limit < self._most:
                self.limit, self._answers = self.limit + 1, 0
                self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """The server is full: nobody begins before these seconds are over."""
        with self._changed:
            now = self._clock()
            if now >= self._resume_at:
                self.limit, self._answers = max(1, self.limit // 2), 0
            self._resume_at = max(self._resume_at, now + seconds)
            self._changed.notify_all()
