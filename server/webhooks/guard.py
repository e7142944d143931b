"""Where a webhook may go: nowhere inside, unless the operator says so.

Knows: URLs, addresses, the allow-list.
Must not know: what is sent, or how.

A caller names the URL, and the server may reach what the caller may not. So a URL is looked at
twice: when it is given (`check`), and each time before it is used (`resolve`), when the name has
become an address; the connection then goes to that very address, whatever the name says later.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias
from urllib.parse import urlsplit

Address: TypeAlias = IPv4Address | IPv6Address
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

MAX_URL = 2_048
PORTS = {"https": 443, "http": 80}
NAT64 = ip_network("64:ff9b::/96")
"""RFC 6052: an IPv4 address in the last 32 bits."""


class Refused(Exception):
    """The URL leads where it may not; `why` is a word for the log, without the URL."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Target:
    """A URL in parts; `host` as it was written, without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """For the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def parse(url: str) -> Target:
    """A URL's parts.

    Raises:
        Refused: it is none of HTTP, too long, or holds a name and password.
    """
    if len(url) > MAX_URL or not all("!" <= char <= "~" for char in url):
        raise Refused("malformed")
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")  # as resolvers do; labels empty or too long are none
    except ValueError:
        raise Refused("malformed") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise Refused("malformed")
    if "@" in parts.netloc:
        raise Refused("userinfo")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, parts.hostname, port or PORTS[parts.scheme], path)


class Guard:
    """With an allow-list of host names and networks, where anything goes, also plain HTTP."""

    def __init__(self, allowed: Sequence[str], resolve: Resolve | None = None) -> None:
        """`allowed` holds names such as `n8n` and networks such as `10.0.1.0/24`."""
        self._names: set[str] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        for each in allowed:
            try:
                self._networks.append(ip_network(each))
            except ValueError:
                self._names.add(each.lower())
        self._resolve = resolve or _resolve

    def check(self, url: str) -> Target:
        """What can be said of a URL without asking anybody.

        Raises:
            Refused: it leads where it may not, whatever its name stands for.
        """
        target = parse(url)
        literal = _literal(target.host)
        if literal is not None:
            self._check_address(target, literal)
        elif target.scheme == "http" and target.host not in self._names and not self._networks:
            raise Refused("plain_http")
        return target

    async def resolve(self, target: Target) -> str:
        """The address to connect to.

        Raises:
            Refused: one of the name's addresses is inside, or it has none.
            OSError: nobody can say.
        """
        literal = _literal(target.host)
        found = [str(literal)] if literal else await self._resolve(target.host, target.port)
        if not found:
            raise Refused("no_address")
        for address in found:  # one that is inside shows what the others are for
            self._check_address(target, ip_address(address.partition("%")[0]))
        return found[0]

    def _check_address(self, target: Target, address: Address) -> None:
        if target.host in self._names or any(address in network for network in self._networks):
            return
        if target.scheme == "http":
            raise Refused("plain_http")
        if not is_outside(address):
            raise Refused("inside")


def is_outside(address: Address) -> bool:
    """Whether an address is one of the internet's, however it is written."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_outside(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        # What C libraries take for an address as well: 127.1, 0x7f000001, 2130706433.
        return IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


async def _resolve(host: str, port: int) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(each[4][0]) for each in found]
