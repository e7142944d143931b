"""What the server keeps and shares with others: usage, counters in Redis; and the time.

Knows: how each is reached as the server would.
Must not know: models, the machine's other sides. Nothing is changed.
"""

import ctypes
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from ops.finding import Finding, failed, note, ok
from server.settings import Settings

REDIS_TIMEOUT = 3.0
REDIS_MS = 20.0
"""The server gives Redis 45 ms for an answer (docs/limits.md); this leaves room for load."""
REDIS_VERSION = 6
CLOCK_SECONDS = 1.0
"""Servers count a minute by their own clocks."""
BUSY_SECONDS = 5.0
TIME_ERROR = 5
"""Source: adjtimex(2)."""
TIMEX_BYTES = 256
"""`struct timex` has 208 on 64 bits; all zero means: only read."""


def state(settings: Settings) -> Iterator[Finding]:
    """All of it."""
    yield _clock()
    yield _usage(settings)
    yield _redis(settings)


def _clock() -> Finding:
    """What the kernel says; a container is told the same as its host."""
    status = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if status < 0:
        return ok("clock", f"{now}; whether it is synchronised is not told here")
    if status == TIME_ERROR:
        todo = "let chrony or systemd-timesyncd set it: keys, tokens and limits go by it"
        return note("clock", f"{now}, not synchronised", todo)
    return ok("clock", f"{now}, synchronised")


def _usage(settings: Settings) -> Finding:
    if not settings.usage_db:
        todo = "set SUSSURRO_USAGE_DB to a file on a local disk"
        return note("usage", "kept in memory: a restart forgets it, and today's minutes", todo)
    path = Path(settings.usage_db)
    todo = "make it a file on a local disk that the server can write, in a folder that it can, too"
    try:
        with tempfile.TemporaryFile(dir=path.parent):  # a journal lies beside it
            pass
        if not path.exists():
            return ok("usage", f"{path} will be made")
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as database:
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
            database.execute("BEGIN IMMEDIATE")
            database.rollback()
    except OSError as error:
        return failed("usage", f"{path}: {error.strerror}", todo)
    except sqlite3.DatabaseError as error:
        return failed("usage", f"{path}: {error}", f"{todo}; `ops restore` has the last backup")
    if found != "ok":
        return failed("usage", f"{path} is damaged", "move it away; `ops restore` has the last one")
    return ok("usage", f"{path}, {path.stat().st_size / 1e6:.1f} MB")


def _redis(settings: Settings) -> Finding:
    url = settings.redis_url.get_secret_value()
    if not url and settings.replicas > 1:
        todo = "set SUSSURRO_REDIS_URL, so that they count together"
        return note("redis", f"none: each of {settings.replicas} servers admits its share", todo)
    if not url:
        return ok("redis", "not used")
    try:
        with closing(_connected(url)) as redis:
            return _looked_at(redis)
    except ValueError:
        return failed("redis", "that is no address", "write redis://, rediss:// or unix://")
    except (RedisError, OSError) as error:
        todo = "start it, or correct SUSSURRO_REDIS_URL; without it each server admits its share"
        return note("redis", f"{type(error).__name__}: {error}", todo)


def _connected(url: str) -> Redis:
    return Redis.from_url(url, socket_timeout=REDIS_TIMEOUT, socket_connect_timeout=REDIS_TIMEOUT)


def _looked_at(redis: Redis) -> Finding:
    """Version, kind, scripts, time; an answer's time is that of a connection that is there."""
    about: Any = redis.info()
    redis.script_load("return 1")
    started = time.perf_counter()
    seconds, microseconds = redis.time()  # type: ignore[misc]
    ms = (time.perf_counter() - started) * 1000
    apart = abs(seconds + microseconds / 1e6 - time.time())
    found = f"version {about['redis_version']}, answers in {ms:.1f} ms"
    if about.get("cluster_enabled"):
        return failed("redis", f"{found}; a cluster", "take one that is none (docs/limits.md)")
    if int(about["redis_version"].partition(".")[0]) < REDIS_VERSION:
        return failed("redis", found, f"take version {REDIS_VERSION} or newer, or Valkey")
    if ms > REDIS_MS:
        todo = "put it nearer: the server waits 45 ms, then admits its share"
        return note("redis", found, todo)
    if apart > CLOCK_SECONDS:
        todo = "synchronise both: servers count minutes by their own clocks"
        return note("redis", f"{found}, its clock is {apart:.1f} s away", todo)
    return ok("redis", found)
