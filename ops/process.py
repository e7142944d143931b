"""A server process of our own: started on a free port, watched, stopped with SIGTERM.

Knows: the log line that tells the port, readiness, the last lines for when it fails.
Must not know: what is asked of the server.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
READY_TIMEOUT = 120.0
"""Seconds from start to ready; a large model takes its time to load."""
STOP_TIMEOUT = 40.0
"""Seconds from SIGTERM to the end; above the server's own drain time."""
POLL_INTERVAL = 0.1
KEPT_LINES = 30


class ServerProcessError(Exception):
    """The server did not start or did not get ready; the message ends with its last lines."""


class ServerProcess:
    """`python -m server` as a context manager."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        python: str = sys.executable,
        on_line: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`environ` must ask for port 0 and a log level that shows the port.

        `on_line` is told each line of the log, in a thread.
        """
        self._environ = environ
        self._python = python
        self._on_line = on_line
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.port = 0

    @property
    def url(self) -> str:
        """The server's root."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def last_lines(self) -> str:
        """What the server logged last."""
        return "The server's last lines:\n  " + "\n  ".join(self._lines or ["(none)"])

    def __enter__(self) -> Self:
        """Start; the port is known after `wait_until_ready`."""
        self._process = subprocess.Popen(  # noqa: S603  our own module
            [self._python, "-m", "server"],
            cwd=ROOT,
            env=dict(self._environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it, and make sure of it."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(timeout=1.0)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def wait_until_ready(self, timeout: float = READY_TIMEOUT) -> None:
        """Return when /readyz says yes.

        Raises:
            ServerProcessError: the process ended, or took too long.
        """
        deadline = time.monotonic() + timeout
        while not (self.port and self._is_ready()):
            if self._process.poll() is not None:
                self._reader.join(timeout=1.0)
                status = self._process.returncode
                raise ServerProcessError(f"the server ended with {status}. {self.last_lines()}")
            if time.monotonic() > deadline:
                raise ServerProcessError(f"not ready in {timeout:.0f} s. {self.last_lines()}")
            time.sleep(POLL_INTERVAL)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5.0)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _read(self) -> None:
        """Keep the last lines and look for the port; the pipe must never fill up."""
        for line in self._process.stdout or ():
            if '"/readyz"' not in line:  # our own questions would push the rest out
                self._lines.append(line.rstrip())
            if not self.port:
                self.port = _port_in(line)
            self._on_line(line)


def _port_in(line: str) -> int:
    """The port in the line that says `listening`, else 0."""
    try:
        content = json.loads(line)
    except ValueError:
        return 0
    if not isinstance(content, dict) or content.get("event") != "listening":
        return 0
    return int(content.get("port", 0))
