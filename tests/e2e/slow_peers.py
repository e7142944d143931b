"""What a crowd of idle and trickling connections costs those who ask honestly.

`./just slow-peers`: p95 of small honest requests and of short transcriptions against a real server
process (the engine alone is a stand-in), alone and then beside 1000 idle connections and 200 that
trickle: a head, a body with a wrong key, a body with a good one. Three rounds, their medians; the
bound is 1.5.
"""

import contextlib
import http.client
import multiprocessing
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path

from server_process import KEY, Process, launcher, noise

from server.access.keys import new_key

IDLE, TRICKLING = 1000, 200
REQUESTS, TRANSCRIPTIONS, ROUNDS = 400, 60, 3
BOUND = 1.5
OTHER = new_key("slow", limits=("max_requests=40",))
WAV = noise(1.0)


@dataclass
class Crowd:
    """Connections to one server; those that it closes are opened again."""

    port: int
    idle: int
    trickling: int
    key: str
    sockets: dict[int, socket.socket] = field(default_factory=dict)
    opened: int = 0

    def run(self, stop: Event, full: Event) -> None:
        """Until `stop`; `full` is set when all of them are there."""
        while not stop.is_set():
            started = time.monotonic()
            for number in range(self.idle + self.trickling):
                self.tend(number)
            full.set()
            stop.wait(max(0.0, 1.0 - (time.monotonic() - started)))
        print(f"The crowd opened {self.opened} connections.")  # noqa: T201

    def tend(self, number: int) -> None:
        """One more byte of a trickle; a new connection where one was closed."""
        client = self.sockets.get(number)
        try:
            if client is None:
                self.opened += 1
                client = socket.create_connection(("127.0.0.1", self.port), timeout=10)
                self.sockets[number] = client
                client.sendall(self._beginning(number))
                client.setblocking(False)
            elif number >= self.idle:
                client.send(b"x")
            with contextlib.suppress(BlockingIOError):
                if not client.recv(4096):
                    raise ConnectionResetError
        except OSError:
            self.sockets.pop(number).close()

    def _beginning(self, number: int) -> bytes:
        """Nothing, half a head, or the head of an upload with a wrong key or a good one."""
        if number < self.idle:
            return b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        kind = number % 5
        if kind < 3:
            return b"GET /" + b"x" * kind
        key = self.key if kind == 4 else "wrong"
        return (
            "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
            f"Authorization: Bearer {key}\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
        ).encode()


@contextlib.contextmanager
def crowded(port: int) -> Iterator[None]:
    """The crowd is there while the block runs, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    stop, full = context.Event(), context.Event()
    crowd = Crowd(port, IDLE, TRICKLING, OTHER.key)
    process = context.Process(target=crowd.run, args=(stop, full))
    process.start()
    full.wait(60)
    try:
        yield
    finally:
        stop.set()
        process.join()


def p95(ask: Callable[[], int], times: int) -> float:
    """Milliseconds; every answer has to be 200."""
    took = []
    for _ in range(times):
        started = time.perf_counter()
        status = ask()
        took.append(1000 * (time.perf_counter() - started))
        assert status == 200, status
    return statistics.quantiles(took, n=20)[-1]


def measure(server: Process) -> tuple[float, float]:
    """p95 of a list of models on a new connection each, and of a short transcription."""
    port = int(server.url.rpartition(":")[2])
    headers = {"Authorization": f"Bearer {KEY.key}"}
    files, data = {"file": ("a.wav", WAV)}, {"language": "pt"}

    def ask_for_models() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/v1/models", headers=headers)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status

    with server.client() as client:

        def transcribe() -> int:
            return client.post("/v1/audio/transcriptions", files=files, data=data).status_code

        models, speech = p95(ask_for_models, REQUESTS), p95(transcribe, TRANSCRIPTIONS)
    return models, speech


def main() -> int:
    """Measure, print, and say whether the bound holds."""
    settings = {
        "SUSSURRO_API_KEYS": f"{KEY.record} {OTHER.record}",
        "SUSSURRO_FAILURES_PER_MINUTE": "100000",
    }
    with tempfile.TemporaryDirectory() as folder, launcher(Path(folder)) as launch:
        server = launch(**settings).ready()
        port = int(server.url.rpartition(":")[2])
        measure(server)
        alone, beside = [], []
        for _ in range(ROUNDS):
            alone.append(measure(server))
            with crowded(port):
                beside.append(measure(server))
        status = Path(f"/proc/{server.popen.pid}/status").read_text()
    worst = 0.0
    print(  # noqa: T201 - a table for a person
        "| p95, ms | alone | beside 1000 idle and 200 trickling | ratio |\n|---|---|---|---|"
    )
    for index, what in enumerate(("list of models, new connection", "transcription of 1 s")):
        before, after = (statistics.median(each[index] for each in x) for x in (alone, beside))
        worst = max(worst, after / before)
        print(f"| {what} | {before:.1f} | {after:.1f} | {after / before:.2f} |")  # noqa: T201
    (peak,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    print(f"The server's peak: {int(peak.split()[1]) // 1024} MB.")  # noqa: T201
    return 0 if worst <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
