"""A server of one's own for as long as a command runs: throw-away key, free port, loopback.

Knows: which settings such a server needs.
Must not know: what it is asked.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping

from ops.client import Client
from ops.process import ServerProcess
from server.access.keys import new_key

ELSEWHERE = tuple(
    f"SUSSURRO_{name}"
    for name in (
        "API_KEYS",
        "TOKEN_KEYS",
        "REQUESTS_PER_MINUTE",
        "AUDIO_MINUTES_PER_",
        "REDIS_URL",
        "REPLICAS",
        "USAGE_DB",
        "JOBS_DIR",
        "DATABASE_URL",
    )
)
"""Settings, by how they begin, of the person's real server: its callers, limits and counts."""


@contextlib.contextmanager
def own_server(
    name: str,
    settings: Mapping[str, str] | None = None,
    *,
    python: str = sys.executable,
    on_line: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[ServerProcess, Client, str]]:
    """A server that is ready, a client of it, and the key of which it only knows the hash.

    Args:
        name: the key's id, for the server's log.
        settings: more of them; what the person has set stays, except where the server would
            reach or be reached elsewhere.
        python: whose environment runs it.
        on_line: told each line of its log, in a thread.

    Raises:
        ServerProcessError: it does not start.
    """
    made = new_key(name)
    environ = {k: v for k, v in os.environ.items() if not k.startswith(ELSEWHERE)}
    environ |= {"SUSSURRO_API_KEYS": made.record, "SUSSURRO_HOST": "127.0.0.1"}
    environ |= {"SUSSURRO_PORT": "0", "SUSSURRO_LOG_LEVEL": "info"} | dict(settings or {})
    environ.setdefault("SUSSURRO_SANDBOX", "available")
    with ServerProcess(environ, python=python, on_line=on_line) as server:
        server.wait_until_ready()
        yield server, Client(server.url, made.key), made.key
