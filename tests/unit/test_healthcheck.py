"""The container's health check, as a program beside a real HTTP server."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "ops" / "container" / "healthcheck.py"


class Probe(BaseHTTPRequestHandler):
    """Answers /readyz with the status that a test has set."""

    status = 200

    def do_GET(self) -> None:
        """The status, but for any other path 404."""
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server in a thread."""
    with HTTPServer(("127.0.0.1", 0), Probe) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def check(port: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", SCRIPT],
        env={"SUSSURRO_PORT": str(port)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.strip()


def test_ready_is_healthy(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 from /readyz, and nothing else."""
    monkeypatch.setattr(Probe, "status", 200)
    assert (0, "ready") == check(port)
    monkeypatch.setattr(Probe, "status", 503)
    assert (1, "not ready: 503") == check(port)


def test_nobody_is_unhealthy(port: int) -> None:
    """A refused connection is told without a traceback."""
    with HTTPServer(("127.0.0.1", 0), Probe) as gone:
        free = gone.server_port
    assert (1, "no answer: ConnectionRefusedError") == check(free)
