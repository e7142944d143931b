"""The receiver's process, and what it was told.

Knows: how it is started, killed, read.
Must not know: what should have come.
"""

import base64
import contextlib
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

from ledger import Event

from server.webhooks.events import parse_secrets, secret_of

SECRET = "whsec_" + "c3Vzc3Vycm8" * 4
SCRIPT = Path(__file__).with_name("hook_receiver.py")
START_SECONDS = 20.0


class Receiver:
    """On one port, whatever becomes of its process."""

    def __init__(self, file: Path, caller: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}/"
        self._file = file
        self._secret = secret_of(parse_secrets(SECRET)[0], caller)
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    def start(self) -> None:
        """Start it (again), and return when it listens.

        Raises:
            TimeoutError: it does not.
        """
        self._starts += 1
        words = [str(self._port), str(self._file), self._secret, str(self._starts)]
        self._process = subprocess.Popen([sys.executable, str(SCRIPT), *words])
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                return
            time.sleep(0.02)
        raise TimeoutError("the receiver does not start")

    def kill(self) -> None:
        """Without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def came(self) -> list[Event]:
        """In order."""
        if not self._file.exists():
            return []
        found = []
        for text in self._file.read_text().splitlines():
            line = json.loads(text)
            told = json.loads(base64.b64decode(line["body"]))
            data = told["data"]
            found.append(
                Event(
                    line["id"],
                    data["id"],
                    told["type"],
                    data["text"],
                    signed=line["signed"],
                    answer=line["answer"],
                )
            )
        return found
