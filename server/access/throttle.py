"""Who failed to authenticate too often, by address.

Knows: failures a minute, addresses and their networks.
Must not know: keys, HTTP. Only failures are throttled: a good key is never refused for what others
do from its address, which may be a proxy's.
"""

import ipaddress
import math
import time

from server import texts
from server.access.counters import MINUTE, LocalCounters
from server.errors import TooManyFailures

MAX_ADDRESSES = 10_000
"""Beyond it, addresses that are not known yet are counted as one."""


class Throttle:
    """Failures by address, in this process alone: whoever fails must not keep Redis busy."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._failures = LocalCounters()

    async def failed(self, address: str) -> None:
        """One more failure from there.

        Raises:
            TooManyFailures: they are more than `per_minute`.
        """
        key = network_of(address)
        if self._failures.size >= MAX_ADDRESSES and not await self._failures.get(key):
            key = "others"
        if await self._failures.incr(key, MINUTE) <= self._per_minute:
            return
        wait = max(math.ceil(await self._failures.get_expiry(key) - time.time()), 1)
        raise TooManyFailures(texts.TOO_MANY_FAILURES.filled(wait=wait), retry_after=wait)


def network_of(address: str) -> str:
    """What one client can be counted by: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
