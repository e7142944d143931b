"""The way in: who calls, whether they may now, and how that is changed while the server runs.

Knows: callers, the throttle of failures, limits on requests.
Must not know: headers, routes, where settings come from.
"""

import asyncio
from collections.abc import Callable

import structlog

from server import texts
from server.access.allowances import Allowances
from server.access.callers import Callers
from server.access.counters import Count
from server.access.records import RecordsError
from server.access.throttle import Throttle
from server.errors import Unauthenticated
from server.settings import SettingsError
from server.types import Principal


class Gate:
    """Everybody passes here; who is let in may be exchanged at any time."""

    def __init__(self, callers: Callers, throttle: Throttle, allowances: Allowances) -> None:
        self._callers = callers
        self._throttle = throttle
        self._allowances = allowances
        self._wanted: Callable[[], Callers] | None = None
        self._reloading: asyncio.Task[None] | None = None

    async def identify(self, credential: str | None, address: str) -> Principal:
        """Who presents this key or token.

        Raises:
            Unauthenticated: there is none, or it is not good.
            TooManyFailures: that, too often from there.
        """
        try:
            return self._authenticate(credential)
        except Unauthenticated:
            await self._throttle.failed(address)
            raise

    def _authenticate(self, credential: str | None) -> Principal:
        if credential is None:
            raise Unauthenticated(texts.NO_KEY, reason="key_missing")
        return self._callers.authenticate(credential)

    async def admit(self, caller: Principal) -> Count | None:
        """Count a request of this caller; None if there is no limit."""
        return await self._allowances.request(caller)

    def reload(self, read: Callable[[], Callers]) -> None:
        """Take other callers from now on; requests under way are not touched.

        `read` runs in a thread. If what it reads is wrong, the present callers stay.
        """
        self._wanted = read
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._reload())

    async def _reload(self) -> None:
        """Read until nobody has asked since: what was read before may be old."""
        log = structlog.get_logger()
        while self._wanted is not None:
            read, self._wanted = self._wanted, None
            try:
                callers = await asyncio.to_thread(read)
            except (RecordsError, SettingsError) as error:
                log.error("keys_not_reloaded", problems=error.problems)  # noqa: TRY400 - no fault
            else:
                self._callers = callers
                log.info("keys_reloaded", keys=len(callers))
