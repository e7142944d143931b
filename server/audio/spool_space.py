"""How many bytes uploads and decoded audio may take in the spool folder, all together.

Knows: one number.
Must not know: files, requests. Mapped audio gives its bytes back on whatever thread drops it.
"""

import threading

from server import texts
from server.errors import Overloaded

RETRY_SECONDS = 30


class SpoolSpace:
    """Bytes are taken as they come, and given back when their file is gone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes that are taken now."""
        return self._used

    def take(self, count: int) -> None:
        """So many more.

        Raises:
            Overloaded: they would be too many; none is taken.
        """
        with self._lock:
            if self._used + count > self._most:
                raise no_room()
            self._used += count

    def give_back(self, count: int) -> None:
        """So many less."""
        with self._lock:
            self._used -= count


def no_room() -> Overloaded:
    """What a client is told, whether our own bound is reached or the disk's."""
    return Overloaded(texts.NO_DISK, retry_after=RETRY_SECONDS, reason="spool_full")
