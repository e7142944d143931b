"""A server process of one's own: started, watched through its log, stopped."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import log_lines
import numpy as np
import pytest

from server.access.keys import new_key

ROOT = Path(__file__).parents[2]
FAKE = str(Path(__file__).with_name("fake_server.py"))
KEY = new_key("e2e")
KEYS_FILE = "SUSSURRO_API_KEYS_FILE"


class Process:
    """A running server; its log is read from a file as it grows."""

    def __init__(self, arguments: list[str], environ: dict[str, str], folder: Path) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.popen = subprocess.Popen(
                [sys.executable, "-W", "error", *arguments],
                cwd=ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(ROOT),
                    **({} if KEYS_FILE in environ else {"SUSSURRO_API_KEYS": KEY.record}),
                    "SUSSURRO_PORT": "0",
                    "SUSSURRO_SANDBOX": "available",
                    "SUSSURRO_SPOOL_DIR": str(folder),
                    "SUSSURRO_ENGINES_DIR": str(folder / "engines"),
                    **environ,
                },
                stdout=out,
                stderr=err,
            )

    @property
    def stderr(self) -> str:
        """What was written for a person."""
        return self._err.read_text()

    @property
    def stdout(self) -> str:
        """The log as text."""
        return self._out.read_text()

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The log's complete lines of one kind."""
        every = [json.loads(x) for x in self.stdout.splitlines(keepends=True) if x[-1] == "\n"]
        return [line for line in every if line["event"] == event]

    def line(self, event: str, within: float = 60.0) -> dict[str, Any]:
        """The first line of a kind, once it is there."""
        end = time.monotonic() + within
        while not (found := self.lines(event)):
            if time.monotonic() > end or (self.popen.poll() is not None and not self.lines(event)):
                pytest.fail(f"no {event!r} in the log:\n{self.stdout}\n{self.stderr}")
            time.sleep(0.02)
        return found[0]

    def statuses(self, count: int) -> list[int | None]:
        """Of the requests in the log, once there are so many; a line follows its answer."""
        end = time.monotonic() + 20
        while len(lines := self.lines("request")) < count and time.monotonic() < end:
            time.sleep(0.05)
        return [line["status"] for line in lines]

    def has_logged(self, request_id: object) -> bool:
        """Whether a request is in the log, or soon will be."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if request_id in {line["request_id"] for line in self.lines("request")}:
                return True
            time.sleep(0.05)
        return False

    @property
    def url(self) -> str:
        """Where it listens, as its log says."""
        return f"http://127.0.0.1:{self.line('listening')['port']}"

    def ready(self) -> "Process":
        """Wait until the models are warm."""
        self.line("ready")
        return self

    def client(self, **options: Any) -> httpx.Client:
        """A client with a good key."""
        headers = {"Authorization": f"Bearer {KEY.key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, **options)

    def stop(self, with_signal: int = signal.SIGTERM, within: float = 30.0) -> int:
        """Ask it to stop; the exit code."""
        self.popen.send_signal(with_signal)
        return self.popen.wait(within)

    def exit_code(self, within: float = 30.0) -> int:
        """The exit code of a process that ends by itself."""
        return self.popen.wait(within)


Start = Callable[..., Process]


@contextlib.contextmanager
def launcher(folder: Path) -> Iterator[Start]:
    """Start servers with arguments and settings; they are killed at the end of the block."""
    with contextlib.ExitStack() as stack:

        def launch(*arguments: str, **environ: str) -> Process:
            own = folder / str(time.monotonic_ns())
            own.mkdir()
            process = Process(list(arguments) or [FAKE], environ, own)
            stack.callback(lambda: log_lines.check(process.stdout))
            stack.callback(process.popen.wait, 30)
            stack.callback(process.popen.kill)
            return process

        yield launch


def noise(seconds: float, pauses: Sequence[float] = ()) -> bytes:
    """A WAV file of loud noise, with half a second of near silence around each pause."""
    pcm = np.random.default_rng(5).normal(0, 3000, round(seconds * 16_000)).astype("<i2")
    for at in pauses:
        pcm[round((at - 0.25) * 16_000) : round((at + 0.25) * 16_000)] //= 500
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(pcm.tobytes())
    return file.getvalue()
