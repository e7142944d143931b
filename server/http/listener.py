"""The listening server and how it ends.

Knows: sockets, signals, the order of a graceful stop.
Must not know: what is served.
"""

import asyncio
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

import structlog
import uvicorn

from server import __version__
from server.http.connections import ConnectionLimits
from server.settings import Settings

CLEAN_UP_SECONDS = 5.0
"""For cancelled requests to free what they hold and to answer 503."""

SPARE_DESCRIPTORS = 256
"""Open files beside connections: two for each transcription, models, the log, Redis."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; connections wait in its queue from now on.

    They inherit TCP_NODELAY, which asyncio does not set for them: head and body of an answer are
    written one after the other, and on a connection that is used again the body would wait for
    the client's late acknowledgement of the head, 40 ms.

    Raises:
        OSError: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=2048)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def connection_limits(settings: Settings) -> ConnectionLimits:
    """Those of the settings, with no more connections than this process can hold open.

    It asks the system for more: a process often starts with 1024 descriptors, though it may have
    many more.
    """
    limits = ConnectionLimits.of(settings)
    wanted = limits.max_connections + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return limits
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed == wanted:
        return limits
    most = max(allowed - SPARE_DESCRIPTORS, 8)
    structlog.get_logger().warning("few_descriptors", max_connections=most)
    return replace(limits, max_connections=most)


def heed_hangups(reload: Callable[[], None]) -> None:
    """From now on SIGHUP calls this, on the running loop; if our terminal is gone, it stops us.

    One that was held back until now counts.
    """
    terminal = os.isatty(0)

    def heed() -> None:
        if terminal and not os.isatty(0):
            signal.raise_signal(signal.SIGTERM)
        else:
            reload()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, heed)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


class Listener(uvicorn.Server):
    """uvicorn's server with an order of ending.

    SIGTERM or SIGINT: tell (readiness says 503), go on for `grace` seconds, in which a proxy that
    has not asked yet still finds a server, close the door, stop accepting, let running requests
    end, cancel the rest. A second signal cancels them at once. Unlike uvicorn's,
    it returns in the end instead of raising the signal again: a stop that was asked for is a
    success.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        on_stop: Callable[[], None],
        on_close: Callable[[], None],
        grace: float,
    ) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        self._on_close = on_close
        self._grace = grace
        self._stop_asked = False
        self._told_at: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's
        """In a signal handler: only set flags, the log's lock may be held."""
        if self._stop_asked:
            self.should_exit = self.force_exit = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._cut)
        self._stop_asked = True

    def stop(self) -> None:
        """As the first signal."""
        self._stop_asked = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell the port once signals are heeded: whoever waits for the line may send one."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        log = structlog.get_logger()
        for number, listening in enumerate(sockets or ()):
            port = listening.getsockname()[1]
            if number:
                log.info("listening_for_metrics", port=port, version=__version__)
            else:
                log.info("listening", port=port, version=__version__)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; whether to stop accepting."""
        if self._stop_asked and self._told_at is None:
            self._told_at = time.monotonic()
            structlog.get_logger().info("draining", requests=len(self.server_state.tasks))
            self._on_stop()
        graced = self._told_at is not None and time.monotonic() - self._told_at >= self._grace
        return await super().on_tick(counter) or graced

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, and wait for what was cancelled."""
        self._on_close()
        await super().shutdown(sockets)
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=CLEAN_UP_SECONDS)

    def _cut(self) -> None:
        """Cancel what runs; each request still tells its client."""
        for task in self.server_state.tasks:
            task.cancel()
