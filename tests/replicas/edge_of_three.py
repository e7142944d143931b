"""Three servers behind a real Traefik, on one PostgreSQL and one Redis.

Knows: how they are started, replaced, asked what they did.
Must not know: who calls, or what is promised.
"""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psycopg
from postgres_server import PostgresServer
from server_process import Process

TRAEFIK = Path(sys.prefix) / "bin" / "traefik"
SERVERS = 3
PROXY_SECONDS = 3.0
"""Traefik asks each second, and takes a server that is back within two of them."""


class Servers:
    """On ports of their own, each replaced by the next on the same port."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = dict(environ)
        self._ports = [free_port() for _ in range(SERVERS)]
        self.every: list[Process] = []
        self.now = [self._start(number) for number in range(SERVERS)]
        for server in self.now:
            server.ready()

    @property
    def urls(self) -> list[str]:
        """Where they listen."""
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    def replace(self, number: int) -> int:
        """Stop one as an orchestrator does, and start the next; the exit code."""
        code = self.now[number].stop(within=60)
        self.now[number] = self._start(number).ready()
        time.sleep(PROXY_SECONDS)
        return code

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Of all logs there have been."""
        return [line for process in self.every for line in process.lines(event)]

    def by_server(self, event: str) -> list[int]:
        """How many of them each process wrote."""
        return [len(process.lines(event)) for process in self.every]

    def close(self) -> None:
        """At once."""
        for process in self.every:
            process.popen.kill()
            process.popen.wait()

    def _start(self, number: int) -> Process:
        own = self._folder / f"{number}-{len(self.every)}"
        own.mkdir()
        environ = self._environ | {"SUSSURRO_PORT": str(self._ports[number])}
        process = Process(["-m", "server"], environ, own)
        self.every.append(process)
        return process


def free_port() -> int:
    """Of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def states(postgres: PostgresServer) -> dict[str, str]:
    """Every job in the table."""
    with psycopg.connect(postgres.url()) as connection:
        return dict(connection.execute("SELECT id, state FROM jobs").fetchall())


@contextlib.contextmanager
def traefik(folder: Path, urls: list[str]) -> Iterator[str]:
    """The address of the proxy, with the settings of `compose.replicas.yaml`, without TLS."""
    port = free_port()
    balancer = {
        "servers": [{"url": url} for url in urls],
        "healthCheck": {"path": "/readyz", "interval": "1s", "timeout": "2s"},
    }
    retry = {"retry": {"attempts": 2, "initialInterval": "100ms"}}
    router = {"rule": "PathPrefix(`/`)", "service": "all", "middlewares": ["again"]}
    dynamic = {
        "http": {
            "routers": {"all": router},
            "middlewares": {"again": retry},
            "services": {"all": {"loadBalancer": balancer}},
        }
    }
    (folder / "dynamic.yaml").write_text(json.dumps(dynamic))  # YAML holds JSON
    arguments = [
        f"--entryPoints.http.address=127.0.0.1:{port}",
        f"--providers.file.filename={folder / 'dynamic.yaml'}",
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
    ]
    with (folder / "traefik.log").open("wb") as out:
        process = subprocess.Popen([TRAEFIK, *arguments], stdout=out, stderr=out, cwd=folder)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(url + "/readyz")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(url: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url).status_code == 200:
                return
        time.sleep(0.1)
    raise TimeoutError(url)
