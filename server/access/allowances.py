"""What each caller may use up, and what is left of it.

Knows: the server's defaults, callers' own limits, requests a minute, audio minutes by hour and day.
Must not know: where counts are kept, HTTP.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from server import texts
from server.access.counters import Count, Counter
from server.access.windows import Windows
from server.errors import InsufficientQuota, RateLimited
from server.settings import Settings
from server.types import KeyLimits, Principal

HOUR, DAY = 3_600, 86_400


@dataclass(frozen=True, slots=True)
class Spent:
    """Audio that was charged, and to which counters."""

    seconds: int
    counters: tuple[Counter, ...]


class Allowances:
    """Hours and days are those of UTC; audio is counted in seconds, rounded up."""

    def __init__(
        self, defaults: KeyLimits, windows: Windows, clock: Callable[[], float] = time.time
    ) -> None:
        self._defaults = defaults
        self._windows = windows
        self._clock = clock

    async def request(self, caller: Principal) -> Count | None:
        """Count one request; None if this caller's are not limited. It may have been refused."""
        limit = self._limit(caller, "requests_per_minute")
        return await self._windows.request(caller.name, limit) if limit else None

    def max_requests(self, caller: Principal) -> int | None:
        """How many a caller may have under way at once; None for the server's default, 0: any."""
        return caller.limits.max_requests

    async def spend(self, caller: Principal, audio_s: float) -> Spent:
        """Charge a recording, now that its length is known.

        Raises:
            InsufficientQuota: the hour's or the day's minutes do not suffice; nothing is charged.
        """
        seconds = math.ceil(audio_s)
        counters = [counter for counter in self._counters(caller) if counter.limit]
        over = await self._windows.spend(counters, seconds) if counters else None
        if over is not None:
            raise self._refusal(audio_s, next(c for c in counters if c.key == over.key))
        return Spent(seconds, tuple(counters))

    async def give_back(self, spent: Spent) -> None:
        """The server failed: it was not used."""
        await self._windows.give_back(spent.counters, spent.seconds)

    async def take_up(self, spent: Spent) -> None:
        """What an earlier process charged for work that is still to be done."""
        counters = [counter for counter in spent.counters if counter.until > self._clock()]
        await self._windows.remember(counters, spent.seconds)

    async def remember(self, name: str, hour_s: float, day_s: float) -> None:
        """What a caller has used of this hour and this day, as it was written down."""
        counters = self._counters(Principal("", name))
        for counter, used in zip(counters, (hour_s, day_s), strict=True):
            if used:
                await self._windows.remember([counter], math.ceil(used))

    def _counters(self, caller: Principal) -> list[Counter]:
        """Those of the present hour and the present day; limits in seconds, 0 for none."""
        now, found = self._clock(), []
        for period, seconds in (("hour", HOUR), ("day", DAY)):
            number = int(now // seconds)
            limit = self._limit(caller, f"audio_minutes_per_{period}") * 60
            key = f"audio:{period}:{number}:{caller.name}"
            found.append(Counter(key, limit, (number + 1.0) * seconds))
        return found

    def _refusal(self, audio_s: float, over: Counter) -> InsufficientQuota:
        hourly = over.key.split(":")[1] == "hour"
        values = {"minutes": over.limit // 60, "length": round(audio_s / 60, 1)}
        if audio_s > over.limit:
            text = texts.LONGER_THAN_HOUR if hourly else texts.LONGER_THAN_DAY
            return InsufficientQuota(text.filled(**values))
        wait = max(math.ceil(over.until - self._clock()), 1)
        text = texts.HOUR_USED_UP if hourly else texts.DAY_USED_UP
        return InsufficientQuota(text.filled(**values, wait=wait), retry_after=wait)

    def _limit(self, caller: Principal, name: str) -> int:
        """The caller's own limit, or else the server's; 0 is none."""
        own: int | None = getattr(caller.limits, name)
        default: int | None = getattr(self._defaults, name)
        return (default or 0) if own is None else own


def default_limits(settings: Settings) -> KeyLimits:
    """The server-wide ones."""
    return KeyLimits(
        requests_per_minute=settings.requests_per_minute,
        audio_minutes_per_hour=settings.audio_minutes_per_hour,
        audio_minutes_per_day=settings.audio_minutes_per_day,
    )


def rate_limited(count: Count) -> RateLimited:
    """The refusal of one request too many."""
    wait = max(math.ceil(count.reset), 1)
    return RateLimited(texts.MINUTE_USED_UP.filled(limit=count.limit, wait=wait), retry_after=wait)
