"""Everything that decides who may come in and how often, put together.

Knows: which settings its parts are made from; their order of starting and stopping.
Must not know: what the parts do, HTTP.
"""

import sqlite3
from dataclasses import dataclass

from server.access.allowances import Allowances, default_limits
from server.access.callers import Callers
from server.access.gate import Gate
from server.access.records import RecordsError
from server.access.throttle import Throttle
from server.access.usage import Usage
from server.access.windows import Windows
from server.settings import PREFIX, Settings


@dataclass(frozen=True, slots=True)
class Access:
    """The parts that the edge works with."""

    gate: Gate
    allowances: Allowances
    usage: Usage
    windows: Windows

    @classmethod
    def open(cls, settings: Settings, callers: Callers) -> "Access":
        """Make the parts and open the file of usage; blocks.

        Raises:
            RecordsError: the file or the address of Redis is no good.
        """
        try:
            windows = Windows(settings.redis_url.get_secret_value() or None, settings.replicas)
        except ValueError:
            raise RecordsError([f"{PREFIX}REDIS_URL: is no address of a Redis"]) from None
        try:
            usage = Usage(settings.usage_db or None)
        except sqlite3.Error as error:
            kind = type(error).__name__
            raise RecordsError([f"{PREFIX}USAGE_DB: cannot be opened ({kind})"]) from None
        allowances = Allowances(default_limits(settings), windows)
        throttle = Throttle(settings.failures_per_minute)
        return cls(Gate(callers, throttle, allowances), allowances, usage, windows)

    async def start(self) -> None:
        """Take up this hour's and this day's minutes where the last process left them."""
        for name, hour_s, day_s in await self.usage.of_today():
            await self.allowances.remember(name, hour_s, day_s)
        await self.windows.start()

    async def close(self) -> None:
        """Write down what is pending."""
        await self.windows.close()
        await self.usage.close()
