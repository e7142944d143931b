"""One server's counters beside a Redis: what is shared, and what holds while it is away."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from io import StringIO
from typing import Any

import pytest
from lateness import Lateness
from redis.asyncio import Redis
from redis_server import RedisServer

from server.access.counters import Counter
from server.access.shared import TICK_SECONDS, TICKS
from server.access.windows import Windows
from server.observe import logs

UNTIL = time.time() + 3600
"""The end of the counters."""


async def spend(windows: Windows, amount: int, name: str = "a", limit: int = 100) -> bool:
    """Whether that much could be added to a counter; what is owed is paid before."""
    async with asyncio.timeout(5):
        while windows._owed and not windows.alone:
            await asyncio.sleep(0.001)
    return await windows.spend([Counter(name, limit, UNTIL)], amount) is None


async def give_back(windows: Windows, amount: int) -> None:
    """Take it from the counter."""
    await windows.give_back([Counter("a", 100, UNTIL)], amount)


def run(
    redis: RedisServer, scenario: Callable[[Windows], Awaitable[None]], replicas: int = 2
) -> list[dict[str, Any]]:
    """Play a scenario with one of two servers; the log's lines."""
    out = StringIO()
    logs.configure("info", out)

    async def play() -> None:
        windows = Windows(redis.url, replicas)
        await windows.start()
        try:
            await scenario(windows)
        finally:
            await windows.close()

    asyncio.run(play())
    return [json.loads(line) for line in out.getvalue().splitlines()]


async def back(windows: Windows) -> None:
    """Wait until Redis is used again."""
    async with asyncio.timeout(10):
        while windows.alone:
            await asyncio.sleep(0.01)


def test_servers_share_what_is_spent(redis: RedisServer) -> None:
    """Audio and requests of the same name are counted together; others are not touched."""

    async def scenario(one: Windows) -> None:
        two = Windows(redis.url, 2)
        assert await spend(one, 60)
        assert not await spend(two, 60)
        assert await spend(two, 40)
        assert await spend(two, 100, "b")
        assert [True, True, False] == [(await w.request("n", 2)).allowed for w in (one, two, one)]
        await two.close()

    assert [] == run(redis, scenario)


def test_what_is_given_back_can_be_spent_again(redis: RedisServer) -> None:
    """And not more; what was refused was not spent."""

    async def scenario(windows: Windows) -> None:
        assert await spend(windows, 100)
        await give_back(windows, 60)
        assert [False, True, False] == [await spend(windows, n) for n in (61, 60, 1)]

    run(redis, scenario)


def test_a_dead_redis_costs_nothing_and_is_told_once(redis: RedisServer) -> None:
    """The share decides, one line in the log tells, and another one that it is back."""

    async def scenario(windows: Windows) -> None:
        redis.kill()
        allowed = [(await windows.request("n", 10)).allowed for _ in range(8)]
        assert [True] * 5 + [False] * 3 == allowed
        assert (1, 8) == (windows.lost, windows.decided_alone)
        redis.start()
        await back(windows)

    lines = run(redis, scenario)
    assert ["redis_lost", "redis_back"] == [line["event"] for line in lines]
    assert 8 == lines[1]["decided_alone"]


def test_what_redis_admitted_counts_against_the_share(redis: RedisServer) -> None:
    """So the loss of Redis gives nobody a second share."""

    async def scenario(windows: Windows) -> None:
        assert all([(await windows.request("n", 10)).allowed for _ in range(4)])
        redis.kill()
        assert [True, False] == [(await windows.request("n", 10)).allowed for _ in range(2)]
        redis.start()

    run(redis, scenario)


def test_a_redis_that_comes_back_empty_gives_no_second_limit(redis: RedisServer) -> None:
    """For a minute the share holds beside it, and says so."""

    async def scenario(windows: Windows) -> None:
        assert all([(await windows.request("n", 10)).allowed for _ in range(5)])
        redis.kill()
        assert not (await windows.request("n", 10)).allowed
        redis.start()
        await back(windows)
        count = await windows.request("n", 10)
        assert (False, 5, 0) == (count.allowed, count.limit, count.remaining)
        assert 0 < count.reset <= 60
        assert (await windows.request("other", 10)).allowed

    run(redis, scenario)


def test_audio_spent_alone_is_written_down_later(redis: RedisServer) -> None:
    """When Redis is back, other servers see it."""

    async def scenario(windows: Windows) -> None:
        assert await spend(windows, 10)
        redis.hang()
        await windows.request("n", 10)  # notices: what it asked may be done later, or never
        assert [True, False] == [await spend(windows, n) for n in (40, 1)]
        await give_back(windows, 15)
        redis.go_on()
        await back(windows)
        other = Windows(redis.url, 2)
        assert [False, True] == [await spend(other, n) for n in (66, 65)]
        await other.close()

    run(redis, scenario)


def test_what_was_given_back_alone_is_written_down_later(redis: RedisServer) -> None:
    """Also if it had been spent with Redis' leave."""

    async def scenario(windows: Windows) -> None:
        assert await spend(windows, 90)
        redis.hang()
        await give_back(windows, 90)
        redis.go_on()
        await back(windows)
        other = Windows(redis.url, 2)
        assert await spend(other, 100)
        await other.close()

    run(redis, scenario)


def test_of_several_counters_all_or_none_are_spent(redis: RedisServer) -> None:
    """The first that is above its limit is named."""
    hour, day = Counter("hour", 100, UNTIL), Counter("day", 150, UNTIL)

    async def scenario(windows: Windows) -> None:
        assert None is await windows.spend([hour, day], 100)
        assert hour == await windows.spend([hour, day], 1)
        await give_back(windows, 0)
        assert day == await windows.spend([day], 51)
        assert await spend(windows, 50, "day", 150)
        redis.kill()
        assert "hour" == getattr(await windows.spend([hour, day], 1), "key", "")
        redis.start()

    run(redis, scenario)


def test_what_can_never_fit_refuses_nobody_else(redis: RedisServer) -> None:
    """It is not even added for a moment."""

    async def scenario(windows: Windows) -> None:
        huge = [asyncio.create_task(spend(windows, 101)) for _ in range(20)]
        assert await spend(windows, 100)
        assert [False] * 20 == await asyncio.gather(*huge)

    run(redis, scenario)


@pytest.mark.parametrize("calls", [1, 200])
def test_a_slow_redis_is_not_waited_for(redis: RedisServer, calls: int) -> None:
    """All of them are answered in about the time that Redis may take, alone or many at once."""

    async def scenario(windows: Windows) -> None:
        await windows.request("n", 1000)
        client = Redis.from_url(redis.url)
        await client.client_pause(400)
        async with Lateness.watched() as lateness:
            started = time.monotonic()
            counts = await asyncio.gather(*(windows.request("n", 1000) for _ in range(calls)))
            took = time.monotonic() - started
        await client.aclose()

        assert all(count.allowed for count in counts)
        assert TICKS * TICK_SECONDS <= took
        assert lateness.waited(started, took) < 0.1
        await back(windows)
        assert (await windows.request("n", 1000)).allowed

    run(redis, scenario)


def test_many_at_once_need_no_more_connections_than_there_are(redis: RedisServer) -> None:
    """They wait for one another, for no longer than Redis itself may take."""

    async def scenario(windows: Windows) -> None:
        counts = await asyncio.gather(*(windows.request("n", 50) for _ in range(100)))
        assert 50 == sum(count.allowed for count in counts)
        assert 0 == windows.lost

    assert [] == run(redis, scenario)


def test_a_server_starts_without_redis(redis: RedisServer) -> None:
    """With its share, and joins the others when Redis comes."""
    redis.kill()

    async def scenario(windows: Windows) -> None:
        assert windows.alone
        assert [True, False] == [(await windows.request("n", 3)).allowed for _ in range(2)]
        redis.start()
        await back(windows)

    run(redis, scenario)


def test_a_wrong_password_is_like_no_redis(redis: RedisServer) -> None:
    """The log has the kind of the error, never the address."""
    out = StringIO()
    logs.configure("info", out)

    async def scenario() -> None:
        windows = Windows(redis.url.replace("//", "//:hunter2@"), 1)
        await windows.start()
        assert (await windows.request("n", 1)).allowed
        await windows.close()

    asyncio.run(scenario())
    (line,) = [json.loads(line) for line in out.getvalue().splitlines()]
    assert "redis_lost" == line["event"]
    assert "hunter2" not in out.getvalue()


def test_an_address_that_is_none_is_refused() -> None:
    """Before anything is connected."""
    with pytest.raises(ValueError, match="URL"):
        Windows("http://127.0.0.1", 1)


def test_a_host_that_is_not_there_is_like_no_redis() -> None:
    """It is looked up again and again, one look at a time."""

    async def scenario() -> None:
        windows = Windows("redis://nowhere.invalid", 2)
        await windows.start()
        assert [True, False] == [(await windows.request("n", 2)).allowed for _ in range(2)]
        await windows.close()

    logs.configure("error", StringIO())
    asyncio.run(scenario())
