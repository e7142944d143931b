"""Webhooks go nowhere inside, however it is written."""

import asyncio
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.webhooks.guard import Guard, Refused, is_outside, parse

INSIDE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fd00::1",
    "fec0::1",
    "ff02::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
]
OUTSIDE = ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"]


@pytest.mark.parametrize("address", INSIDE)
def test_inside_is_inside(address: str) -> None:
    """Loopback, private, link-local, carriers', multicast; also within another address."""
    assert not is_outside(ip_address(address))


@pytest.mark.parametrize("address", OUTSIDE)
def test_outside_is_outside(address: str) -> None:
    """Also by NAT64, which some networks have nothing but."""
    assert is_outside(ip_address(address))


@given(st.ip_addresses(v=4))
@example(IPv4Address("10.0.0.1"))
def test_an_address_within_another_is_what_it_is(address: IPv4Address) -> None:
    """Mapped, by NAT64 and by 6to4."""
    number = int(address)
    for wrapped in (
        IPv6Address((0xFFFF << 32) | number),
        IPv6Address(int(IPv6Address("64:ff9b::")) | number),
        IPv6Address((0x2002 << 112) | (number << 80)),
    ):
        assert is_outside(address) == is_outside(wrapped)


@given(st.ip_addresses())
def test_what_is_outside_is_global(address: IPv4Address | IPv6Address) -> None:
    """Never more than the library's own word says, which leaves some out."""
    if is_outside(address):
        assert address.is_global
        assert not address.is_multicast


def refused(guard: Guard, url: str) -> str:
    """Why, by the URL alone."""
    with pytest.raises(Refused) as caught:
        guard.check(url)
    return caught.value.why


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://127.0.0.1/x", "inside"),
        ("https://127.1/x", "inside"),
        ("https://2130706433/x", "inside"),
        ("https://0x7f.1/x", "inside"),
        ("https://0177.0.0.1/x", "inside"),
        ("https://[::1]/x", "inside"),
        ("https://[::ffff:169.254.169.254]/x", "inside"),
        ("http://1.1.1.1/x", "plain_http"),
        ("http://example.com/x", "plain_http"),
        ("https://user:word@example.com/x", "userinfo"),
        ("https://user@example.com/x", "userinfo"),
        ("ftp://example.com/x", "malformed"),
        ("https:///x", "malformed"),
        ("https://example.com:99999/x", "malformed"),
        ("https://exa mple.com/x", "malformed"),
        ("https://example.com/\r\nHost: a", "malformed"),
        ("https://ex\u00e4mple.com/", "malformed"),
        ("https://a..example.com/", "malformed"),
        ("https://" + "a" * 64 + ".example.com/", "malformed"),
        ("https://example.com/\x7f", "malformed"),
        ("example.com", "malformed"),
        ("https://example.com/" + "x" * 2_048, "malformed"),
    ],
)
def test_a_url_is_refused_at_once(url: str, why: str) -> None:
    """What can be seen of it needs no look-up."""
    assert why == refused(Guard(()), url)


def test_a_url_that_will_do() -> None:
    """With its port, path and query."""
    target = Guard(()).check("https://Example.com:8443/a/b?c=d&e#f")
    assert ("example.com", 8443, "/a/b?c=d&e") == (target.host, target.port, target.path)
    assert "example.com:8443" == target.authority
    assert "[2606::1]" == parse("https://[2606::1]/").authority


@given(st.text(max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    """It is refused, or a target whose parts can be sent."""
    for url in (text, f"https://{text}", f"https://a.example/{text}"):
        try:
            target = Guard(()).check(url)
        except Refused:
            continue
        assert (target.authority + target.path).isprintable()
        assert " " not in target.authority + target.path


def resolved(guard: Guard, url: str) -> str:
    """The address that is connected to."""
    return asyncio.run(guard.resolve(guard.check(url)))


def test_an_address_may_be_written_as_c_has_it() -> None:
    """It is connected to as what it is."""
    assert "1.0.0.1" == resolved(Guard(()), "https://1.1/x")


def names(*addresses: str) -> object:
    """A name service that says this of every name."""

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    return resolve


def test_a_name_is_what_it_stands_for() -> None:
    """One address inside is enough to refuse it."""
    assert "1.1.1.1" == resolved(Guard((), names("1.1.1.1", "8.8.8.8")), "https://a.example/")
    for inside in (["10.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["fe80::1%eth0"], []):
        with pytest.raises(Refused):
            resolved(Guard((), names(*inside)), "https://a.example/")


def test_a_name_that_changes_is_looked_at_each_time() -> None:
    """It was outside when the job was taken, and is inside when the webhook is sent."""
    answers = iter([["1.1.1.1"], ["127.0.0.1"]])

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return next(answers)

    guard = Guard((), resolve)
    assert "1.1.1.1" == resolved(guard, "https://a.example/")
    with pytest.raises(Refused, match="inside"):
        resolved(guard, "https://a.example/")


def test_the_allow_list_opens_what_it_names() -> None:
    """A host wherever it is, a network whatever leads there; both by plain HTTP; nothing else."""
    guard = Guard(("n8n", "10.0.1.0/24"), names("10.0.9.9"))
    assert "10.0.9.9" == resolved(guard, "http://n8n:5678/webhook/1")
    assert "10.0.1.7" == resolved(guard, "http://10.0.1.7/x")
    assert "10.0.1.7" == resolved(Guard(("10.0.1.0/24",), names("10.0.1.7")), "http://a.example/")
    for url in ("http://10.0.2.7/x", "http://other/x", "https://other/x"):
        with pytest.raises(Refused):
            resolved(guard, url)


@given(
    st.text(st.characters(max_codepoint=0x7F), min_size=1),
    st.text(st.characters(max_codepoint=0x7F)),
)
@example("a..b", "")
@example("a", "\x7f")
def test_what_is_taken_can_be_called(host: str, path: str) -> None:
    """A resolver and the protocol take it, too: a try always has an outcome."""
    try:
        target = Guard([]).check(f"https://{host}/{path}")
    except Refused:
        return
    target.host.encode("idna")
    h11.Request(method="POST", target=target.path, headers=[("host", target.authority)])
