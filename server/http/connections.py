"""The connections that are open: how many there may be, and which one has to go for a new one.

Knows: which of them serve a request, and how long the others have waited.
Must not know: HTTP, sockets.
"""

import math
import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

import structlog

from server.settings import Settings

TELL_SECONDS = 60.0
"""Between two lines in the log about being full."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may take, in seconds, and how many there may be."""

    header_timeout: float
    """To send a request's head."""
    idle_timeout: float
    """Between two requests."""
    stall_timeout: float
    """Without taking a byte of an answer."""
    max_connections: int

    @classmethod
    def of(cls, settings: Settings) -> "ConnectionLimits":
        """Those of the settings."""
        return cls(
            settings.header_timeout,
            settings.connection_idle_timeout,
            settings.stall_timeout,
            settings.max_connections,
        )


class Waiting(Hashable, Protocol):
    """A connection as it is seen here."""

    def make_room(self) -> None:
        """Close, for others are waiting."""
        ...


class Connections:
    """All of one server.

    Whoever holds connections open without asking for anything must not keep others out. So when
    there are too many, the one that has waited longest goes; a new one is refused only when all
    of them serve a request.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        """How many there may be."""
        self._waiting: dict[Waiting, None] = {}
        self._serving: set[Waiting] = set()
        self._told = -math.inf

    def __len__(self) -> int:
        return len(self._waiting) + len(self._serving)

    def opened(self, connection: Waiting) -> None:
        """A new one, which has not asked yet."""
        self._waiting[connection] = None
        if len(self) > self.most:
            self._tell()
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.make_room()

    def serves(self, connection: Waiting) -> None:
        """It has sent a request's head."""
        self._waiting.pop(connection, None)
        self._serving.add(connection)

    def waits(self, connection: Waiting) -> None:
        """Its request is answered."""
        if connection in self._serving:
            self._serving.remove(connection)
            self._waiting[connection] = None

    def closed(self, connection: Waiting) -> None:
        """It is gone."""
        self._waiting.pop(connection, None)
        self._serving.discard(connection)

    def _tell(self) -> None:
        """One line a minute is enough."""
        now = time.monotonic()
        if now >= self._told + TELL_SECONDS:
            self._told = now
            structlog.get_logger().warning(
                "connections_full", connections=len(self) - 1, serving=len(self._serving)
            )
