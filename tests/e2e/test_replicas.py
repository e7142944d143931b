"""Two servers and one Redis: one limit, one answer, whoever is asked."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from redis_server import RedisServer
from server_process import Process, Start

MODELS = "/v1/models"
LIMIT = 40


def two(start: Start, redis: RedisServer) -> list[Process]:
    """Servers that share a limit."""
    environ = {
        "SUSSURRO_REDIS_URL": redis.url,
        "SUSSURRO_REPLICAS": "2",
        "SUSSURRO_REQUESTS_PER_MINUTE": str(LIMIT),
    }
    return [server.ready() for server in [start(**environ) for _ in range(2)]]


def ask(servers: list[Process], each: int) -> Counter[int]:
    """Statuses of requests to both at once."""

    def statuses(server: Process) -> list[int]:
        with server.client() as client:
            return [client.get(MODELS).status_code for _ in range(each)]

    with ThreadPoolExecutor(8) as pool:
        return Counter(s for found in pool.map(statuses, servers * 4) for s in found)


def test_exactly_the_limit_is_answered(start: Start, redis: RedisServer) -> None:
    """And both say the same of what is left."""
    servers = two(start, redis)
    with servers[0].client() as one, servers[1].client() as other:
        left = [
            client.get(MODELS).headers["x-ratelimit-remaining-requests"]
            for client in (one, other, one)
        ]

    assert ["39", "38", "37"] == left
    assert Counter({200: LIMIT - 3, 429: 8 * 10 - LIMIT + 3}) == ask(servers, 10)


def test_a_redis_that_hangs_is_no_outage(start: Start, redis: RedisServer) -> None:
    """Each server answers its share, at once; the log tells."""
    servers = two(start, redis)
    redis.hang()
    started = time.monotonic()
    found = ask(servers, 10)
    took = time.monotonic() - started

    assert Counter({200: LIMIT, 429: 8 * 10 - LIMIT}) == found
    assert took < 8  # 80 requests; one that waited for Redis would wait for ever
    assert [1, 1] == [len(server.lines("redis_lost")) for server in servers]
    redis.go_on()
    assert all(server.line("redis_back")["decided_alone"] >= 40 for server in servers)
