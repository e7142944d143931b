"""Limits in one process: counters, shares, what is charged and given back, failures by address."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.access.allowances import DAY, HOUR, Allowances
from server.access.counters import Counter, LocalCounters
from server.access.throttle import MAX_ADDRESSES, Throttle, network_of
from server.access.windows import Windows
from server.errors import InsufficientQuota, TooManyFailures
from server.types import KeyLimits, Principal

NOW = 1_000 * DAY + 13.5 * HOUR


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Play it on an event loop."""
    asyncio.run(scenario)


def caller(name: str = "n8n", **limits: int) -> Principal:
    """Somebody with limits of their own."""
    return Principal(name, name, frozenset(), KeyLimits(**limits))


def test_as_many_as_the_limit_pass_in_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The window moves: each one frees its place a minute after it came."""
    now = [10_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])

    async def scenario() -> None:
        windows = Windows()
        for at, allowed, remaining, reset in (
            (0, True, 1, 60),
            (40, True, 0, 20),
            (59, False, 0, 1),
            (61, True, 0, 39),
            (90, False, 0, 10),
            (101, True, 0, 20),
        ):
            now[0] = 10_000.0 + at
            count = await windows.request("a", 2)
            assert (allowed, 2, remaining) == (count.allowed, count.limit, count.remaining), at
            assert reset == pytest.approx(count.reset), at

    run(scenario())


def test_others_have_limits_of_their_own() -> None:
    """Counted by name."""

    async def scenario() -> None:
        windows = Windows()
        found = [(await windows.request(name, 1)).allowed for name in ("a", "b", "a")]
        assert [True, True, False] == found

    run(scenario())


def test_without_redis_a_replica_has_its_share() -> None:
    """Of requests and of audio; what cannot be divided is nobody's."""

    async def scenario() -> None:
        windows = Windows(replicas=3)
        assert 3 == sum([(await windows.request("a", 10)).allowed for _ in range(9)])
        assert not (await windows.request("b", 2)).allowed
        hour = Counter("hour", 90, time.time() + 60)
        assert [None, "hour"] == [
            getattr(await windows.spend([hour], n), "key", None) for n in (30, 1)
        ]

    run(scenario())


def test_counting_starts_no_thread_and_forgets() -> None:
    """The library's own sweep would; ours runs now and then, in place."""

    async def scenario() -> None:
        counters = LocalCounters()
        for number in range(200):
            await counters.request(f"k{number}", 5)
            await counters.spend(Counter(f"c{number}", 5, 0.0), 1)
        assert 400 == counters.size
        for events in counters.events.values():
            events[0].expiry = 0.0
        counters.expirations = dict.fromkeys(counters.expirations, 0.0)
        counters._swept -= 60
        await counters.request("last", 5)
        assert 1 == counters.size

    before = threading.active_count()
    run(scenario())
    assert before == threading.active_count()


def test_audio_is_charged_by_hour_and_by_day() -> None:
    """In seconds, rounded up; the next hour is a new one, the day goes on."""
    now = [NOW]
    me = caller(audio_minutes_per_hour=1, audio_minutes_per_day=2)

    async def scenario() -> None:
        allowances = Allowances(KeyLimits(), Windows(), lambda: now[0])
        await allowances.spend(me, 59.2)
        with pytest.raises(
            InsufficientQuota, match=r"1 minutes of audio .* in each hour"
        ) as caught:
            await allowances.spend(me, 0.1)
        assert 1800 == caught.value.retry_after
        now[0] += HOUR
        await allowances.spend(me, 60.0)
        now[0] += HOUR
        with pytest.raises(InsufficientQuota, match=r"2 minutes of audio .* on each day") as caught:
            await allowances.spend(me, 0.1)
        assert 8.5 * HOUR == caught.value.retry_after
        now[0] += DAY
        await allowances.spend(me, 1.0)

    run(scenario())


def test_a_recording_above_the_whole_limit_is_told_so() -> None:
    """Waiting would not help, so nothing says when to come back."""

    async def scenario() -> None:
        allowances = Allowances(KeyLimits(audio_minutes_per_day=5), Windows(), lambda: NOW)
        with pytest.raises(InsufficientQuota, match="Split it") as caught:
            await allowances.spend(caller(), 301.0)
        assert None is caught.value.retry_after

    run(scenario())


def test_what_is_refused_is_not_charged() -> None:
    """Neither to the hour nor to the day."""
    me = caller(audio_minutes_per_hour=2, audio_minutes_per_day=1)

    async def scenario() -> None:
        allowances = Allowances(KeyLimits(), Windows(), lambda: NOW)
        with pytest.raises(InsufficientQuota):
            await allowances.spend(me, 61.0)
        await allowances.spend(me, 60.0)

    run(scenario())


def test_what_the_server_failed_to_do_is_given_back() -> None:
    """To the hour and day that it was charged to, not to those that have begun since."""
    now = [NOW]
    me = caller(audio_minutes_per_hour=1)

    async def scenario() -> None:
        allowances = Allowances(KeyLimits(), Windows(), lambda: now[0])
        spent = await allowances.spend(me, 60.0)
        await allowances.give_back(spent)
        spent = await allowances.spend(me, 60.0)
        now[0] += HOUR
        await allowances.spend(me, 60.0)
        await allowances.give_back(spent)
        with pytest.raises(InsufficientQuota):
            await allowances.spend(me, 1.0)

    run(scenario())


def test_a_keys_own_limit_replaces_the_servers() -> None:
    """Also by none: 0."""

    async def scenario() -> None:
        defaults = KeyLimits(requests_per_minute=1, audio_minutes_per_hour=1)
        allowances = Allowances(defaults, Windows(), lambda: NOW)
        plain = await allowances.request(caller("plain"))
        own = await allowances.request(caller("own", requests_per_minute=7))
        assert plain is not None
        assert own is not None
        assert (1, 7) == (plain.limit, own.limit)
        assert None is await allowances.request(caller("free", requests_per_minute=0))
        await allowances.spend(caller("free", audio_minutes_per_hour=0), 9_999.0)

    run(scenario())


def test_minutes_of_the_last_process_count() -> None:
    """A restart gives nobody a new day."""

    async def scenario() -> None:
        allowances = Allowances(KeyLimits(audio_minutes_per_day=1), Windows(), lambda: NOW)
        await allowances.remember("n8n", 10.0, 50.0)
        with pytest.raises(InsufficientQuota):
            await allowances.spend(caller(), 11.0)
        await allowances.spend(caller(), 10.0)

    run(scenario())


def test_failures_are_throttled_by_address() -> None:
    """Beyond the limit the answer is another one; other addresses are not touched."""

    async def scenario() -> None:
        throttle = Throttle(2)
        await throttle.failed("192.0.2.1")
        await throttle.failed("192.0.2.1")
        with pytest.raises(TooManyFailures, match="taken at once") as caught:
            await throttle.failed("192.0.2.1")
        assert 1 <= (caught.value.retry_after or 0) <= 60
        await throttle.failed("192.0.2.2")

    run(scenario())


def test_a_flood_of_addresses_is_bounded() -> None:
    """Those that are not known yet are counted together; known ones stay their own."""

    async def scenario() -> None:
        throttle = Throttle(1)
        for number in range(MAX_ADDRESSES):
            await throttle.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        await throttle.failed("192.0.2.1")
        with pytest.raises(TooManyFailures):
            await throttle.failed("192.0.2.2")
        assert throttle._failures.size <= MAX_ADDRESSES + 1

    run(scenario())


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", "unknown"),
        ("testclient", "unknown"),
    ],
)
def test_one_client_is_one_network(address: str, network: str) -> None:
    """Whoever has an IPv6 /64 has 2 ** 64 addresses."""
    assert network == network_of(address)


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader_of_addresses(text: str) -> None:
    """Whatever a proxy may write there one day."""
    assert network_of(text)
