"""Several servers, one Redis: together they admit the limit, also when Redis dies or hangs."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis_server import RedisServer

ROOT = Path(__file__).parents[2]
REPLICA = str(Path(__file__).with_name("replica.py"))
REPLICAS = 3
CALLERS = 2
"""In each of them; together some 1000 requests a second."""


def load(
    redis: RedisServer, limit: int, seconds: float, meanwhile: Callable[[], None]
) -> list[dict[str, Any]]:
    """What each of three processes says after a time of asking, while something happens."""
    command = [sys.executable, "-W", "error", REPLICA, redis.url]
    command += map(str, (REPLICAS, limit, CALLERS, seconds))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 1}
    env = {"PYTHONPATH": f"{ROOT}:{ROOT}/tests"}
    running = [
        subprocess.Popen(command, cwd=ROOT, env=env, text=True, **pipes) for _ in range(REPLICAS)
    ]
    for process in running:
        assert "started\n" == process.stdout.readline()
    for process in running:
        process.stdin.write("go\n")
    meanwhile()
    return [json.loads(process.communicate(timeout=60)[0]) for process in running]


def test_exactly_the_limit_passes(redis: RedisServer) -> None:
    """Whoever of them asks first; not one more, not one less."""
    found = load(redis, 100, 1.0, lambda: None)

    assert sum(process["asked"] for process in found) > 300
    assert 100 == sum(process["allowed"] for process in found)


@pytest.mark.parametrize("how", ["killed", "hung"])
def test_without_redis_nobody_gets_more_than_a_share(redis: RedisServer, how: str) -> None:
    """In the middle of the load; then it comes back, empty or as it was. No request waits."""

    def away() -> None:
        time.sleep(0.3)
        redis.kill() if how == "killed" else redis.hang()
        time.sleep(1.0)
        redis.start() if how == "killed" else redis.go_on()

    limit = 900
    found = load(redis, limit, 2.8, away)

    assert all(process["asked"] > limit // REPLICAS for process in found)
    assert [limit // REPLICAS] * REPLICAS == [process["allowed"] for process in found]
    assert max(process["slowest_ms"] for process in found) < 100
