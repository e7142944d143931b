"""Whether the server's event loop is free: how long a probe that needs nothing else waits.

Knows: `GET /healthz`, asked again and again on one connection.
Must not know: what the server does meanwhile. The wait holds the system's scheduling too, so it is
never too low.
"""

import http.client
import threading
import time
from urllib.parse import urlsplit

PAUSE = 0.02
"""Seconds between probes: what blocks for longer than this is met."""

TIMEOUT = 30.0


class Probe:
    """Asks in a thread of its own; `take` tells the waits since the last time."""

    def __init__(self, url: str) -> None:
        """`url` is the server's root."""
        self._netloc = urlsplit(url).netloc
        self._waits: list[float] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="probe", daemon=True)
        self._thread.start()

    def take(self) -> list[float]:
        """Seconds that each probe waited."""
        taken, self._waits = self._waits, []
        return taken

    def close(self) -> None:
        """Stop asking."""
        self._ending.set()
        self._thread.join(TIMEOUT)

    def _work(self) -> None:
        connection = http.client.HTTPConnection(self._netloc, timeout=TIMEOUT)
        while not self._ending.wait(PAUSE):
            started = time.perf_counter()
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                connection.close()  # the next request opens it again
                continue
            self._waits.append(time.perf_counter() - started)
        connection.close()
