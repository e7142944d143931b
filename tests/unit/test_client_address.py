"""Who a request comes from, with and without proxies."""

from ipaddress import ip_network

import pytest

from server.http.client_address import ClientAddress

TRUSTED = [ip_network(text) for text in ("10.0.0.0/8", "fd00::/8", "192.0.2.7")]


@pytest.mark.parametrize(
    ("peer", "header", "expected"),
    [
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9, 10.2.3.4", "203.0.113.9"),
        ("192.0.2.7", "203.0.113.9", "203.0.113.9"),
        ("::ffff:10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("fd00::1", "2001:db8::5", "2001:db8::5"),
        ("fd00::1", "[2001:db8::5]:4711", "2001:db8::5"),
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "fe80::1%eth0", "fe80::1"),
        ("10.0.0.1", "10.1.1.1,10.1.1.2", "10.1.1.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, _hidden, 10.1.1.1", "10.1.1.1"),
        ("10.0.0.1", "203.0.113.9,", "10.0.0.1"),
        ("203.0.113.1", "10.0.0.1", "203.0.113.1"),
        ("203.0.113.1", "9.9.9.9", "203.0.113.1"),
        ("11.0.0.1", "9.9.9.9, 10.0.0.1", "11.0.0.1"),
        ("", "9.9.9.9", ""),
        ("/run/socket", "9.9.9.9", "/run/socket"),
    ],
)
def test_the_nearest_untrusted_address_counts(peer: str, header: str, expected: str) -> None:
    """Only what trusted proxies wrote is believed, from the end of the list on."""
    headers = [(b"host", b"x"), (b"X-Forwarded-For", header.encode())]

    assert expected == ClientAddress(TRUSTED).of(peer, headers)


def test_without_trusted_proxies_the_peer_counts() -> None:
    """The default: no header is read."""
    headers = [(b"x-forwarded-for", b"9.9.9.9"), (b"forwarded", b"for=9.9.9.9")]

    assert "10.0.0.1" == ClientAddress(()).of("10.0.0.1", headers)


def test_several_headers_are_one_list() -> None:
    """A caller's own line before the proxy's changes nothing."""
    lines = [(b"x-forwarded-for", b"9.9.9.9"), (b"x-forwarded-for", b"203.0.113.9")]

    assert "203.0.113.9" == ClientAddress(TRUSTED).of("10.0.0.1", lines)


def test_other_forwarding_headers_are_not_read() -> None:
    """They are as easily written, and no proxy here is asked to remove them."""
    names = (b"forwarded", b"x-real-ip", b"client-ip", b"true-client-ip", b"cf-connecting-ip")
    headers = [(name, b"9.9.9.9") for name in names]

    assert "10.0.0.1" == ClientAddress(TRUSTED).of("10.0.0.1", headers)
