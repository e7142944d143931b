"""Where a request comes from, also through proxies.

Knows: X-Forwarded-For, and which peers may be believed about it.
Must not know: what the address is used for.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

HEADER = b"x-forwarded-for"


class ClientAddress:
    """Reads it; believes a header only from the networks of proxies that the operator names."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = trusted

    def of(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The nearest address that is no trusted proxy's; `peer` if there is none, or "".

        Each proxy appends whom it has heard from. So the list is read from its end, as far as
        trusted proxies wrote it: what stands further left is anybody's word.
        """
        address = parsed(peer)
        if address is None:
            return peer
        if not self._trusted:
            return str(address)
        hops = [
            hop
            for name, value in headers
            if name.lower() == HEADER
            for hop in value.decode("latin-1").split(",")
        ]
        for hop in reversed(hops):
            if not self._trusts(address):
                break
            before = parsed(hop)
            if before is None:
                break  # whoever wrote that is as far as we can see
            address = before
        return str(address)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def parsed(text: str) -> Address | None:
    """An address as proxies write it: perhaps in brackets, with a port or with a zone."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
