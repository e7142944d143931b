"""The server under test: one that runs already, or one of our own.

Knows: how it is reached, its memory and its log where it is ours.
Must not know: loads, what answers are worth.
"""

import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ops.accuracy.manifest import Clip
from ops.bench.options import BenchError, Options
from ops.client import Client
from ops.own_server import own_server
from ops.process import ServerProcessError


def memory_mb(pid: int, field: str) -> float:
    """`VmRSS` or `VmHWM` of a process, in MiB; 0 where there is no such thing."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    return sum(int(x.split()[1]) / 1024 for x in lines.splitlines() if x.startswith(field))


class Target:
    """A server that answers at `url`; `pid` is None if it is not ours."""

    def __init__(self, client: Client, url: str, pid: int | None = None) -> None:
        self.url = url
        self.pid = pid
        self._client = client
        self._lines: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def ask(self, clip: Clip) -> str:
        """Send a clip in its language, for its text.

        Raises:
            ClientError: any answer but a good one.
        """
        answer = self._client.transcribe(clip.path, "json", language=clip.language)
        return str(answer.json()["text"])

    def note(self, line: str) -> None:
        """One line of the server's log."""
        with contextlib.suppress(ValueError):
            content = json.loads(line)
            if content.get("event") == "request" and content.get("status") == 200:
                with self._lock:
                    self._lines.append(content)

    def take_lines(self) -> list[dict[str, Any]]:
        """The good requests' lines since the last time; none if the server is not ours."""
        with self._lock:
            taken, self._lines = self._lines, []
        return [line for line in taken if "audio_s" in line]

    def memory(self, field: str = "VmRSS") -> float:
        """The server's memory in MiB, 0 if it is not ours."""
        return memory_mb(self.pid, field) if self.pid else 0.0


@contextlib.contextmanager
def reach(options: Options) -> Iterator[Target]:
    """The running server that was named, or a new one with the same beams.

    Raises:
        BenchError: it does not start.
    """
    if options.url:
        url = options.url.removesuffix("/v1")
        yield Target(Client(url, options.api_key), url)
        return
    settings = {"SUSSURRO_BEAM_SIZE": str(options.beam)}
    if options.model:
        settings |= {"SUSSURRO_WEIGHTS_DIR": str(options.model.expanduser().resolve().parent)}
        settings |= {"SUSSURRO_MODELS": options.model.name}
    found: list[Target] = []
    try:
        with own_server(
            "bench",
            settings,
            python=options.server_python or sys.executable,
            on_line=lambda line: found[0].note(line) if found else None,
        ) as (server, client, _):
            found.append(Target(client, server.url, server.pid))
            yield found[0]
    except ServerProcessError as error:
        raise BenchError(str(error)) from error
