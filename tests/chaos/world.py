"""What is killed: a PostgreSQL, the nodes and actors of a Ray cluster, two servers, a receiver.

Knows: processes, how each is killed and comes back.
Must not know: when, or what clients make of it.
"""

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import psycopg
from hooks import SECRET, Receiver
from postgres_server import PostgresServer
from ray.cluster_utils import Cluster
from server_process import Process

STORE = 200 << 20
NODES = 2
ACTOR = b"ray::_Placed"
START_SECONDS = 60.0
DUE_SECONDS = 5.0
CALLER = "e2e"


class Supervised:
    """A server that is started again however it ends, as by systemd."""

    def __init__(self, name: str, folder: Path, environ: Mapping[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.name, self.url = name, f"http://127.0.0.1:{port}"
        self.pause = 0.0
        self.ends: Counter[int] = Counter()
        self.processes: list[Process] = []
        self._folder = folder
        self._environ = {**environ, "SUSSURRO_PORT": str(port)}
        self._ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"keep-{name}")
        self._keeper.start()

    def _keep(self) -> None:
        while not self._ending.is_set():
            own = self._folder / f"{self.name}-{len(self.processes)}"
            own.mkdir()
            process = Process(["-W", "default", "-m", "server"], dict(self._environ), own)
            self.processes.append(process)
            self.ends[process.popen.wait()] += 1
            self._ending.wait(self.pause)

    def kill(self) -> None:
        """Without a word."""
        self.processes[-1].popen.kill()

    def tail(self) -> str:
        """The end of what it has written."""
        return "".join(
            each[-2000:] for each in (self.processes[-1].stdout, self.processes[-1].stderr)
        )

    def is_ready(self) -> bool:
        """Whether it serves now."""
        try:
            return httpx.get(self.url + "/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, within: float) -> int:
        """Ask it to end, for good; the exit code.

        Raises:
            subprocess.TimeoutExpired: it does not.
        """
        self._ending.set()
        self.processes[-1].popen.send_signal(signal.SIGTERM)
        return self.processes[-1].popen.wait(within)

    def end(self) -> None:
        """At once, if it still runs."""
        self._ending.set()
        self.processes[-1].popen.kill()
        self._keeper.join()


class World:
    """All of it, started; `close` ends it."""

    def __init__(self, folder: Path, weights: str) -> None:
        self.postgres = PostgresServer()
        self.postgres.start()
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE chaos")
        self.receiver = Receiver(folder / "webhooks", CALLER)
        self.receiver.start()
        self.cluster = Cluster(
            initialize_head=True,
            shutdown_at_exit=False,  # its handlers want the main thread, and others add nodes
            head_node_args={"num_cpus": 0, **_node(), "include_dashboard": False},
        )
        for _ in range(NODES):
            self.add_node()
        common = {
            "SUSSURRO_JOBS_DIR": str(folder / "jobs"),
            "SUSSURRO_USAGE_DB": str(folder / "usage.sqlite3"),
            "SUSSURRO_DATABASE_URL": self.postgres.url("chaos"),
            "SUSSURRO_JOB_LEASE": "3",
            "SUSSURRO_WEBHOOK_SECRET": SECRET,
            "SUSSURRO_WEBHOOK_ALLOW": "127.0.0.1",
            "SUSSURRO_DRAIN_GRACE": "0",
            "SUSSURRO_WEIGHTS_DIR": weights,
            "SUSSURRO_ENCODER": "ctranslate2",
        }
        on_ray = {"SUSSURRO_ENGINE": "ray", "SUSSURRO_RAY_ADDRESS": self.cluster.address}
        alone = {"SUSSURRO_ENGINE": "ctranslate2", "SUSSURRO_CPU_WORKERS": "1"}
        self.servers = [
            Supervised("ray", folder, {**common, **on_ray}),
            Supervised("alone", folder, {**common, **alone}),
        ]

    def add_node(self) -> None:
        """A node of one core."""
        self.cluster.add_node(num_cpus=1, **_node())

    def actors(self) -> list[int]:
        """The processes of engines."""
        raylets = {node.all_processes["raylet"][0].process.pid for node in self.nodes()}
        return [pid for pid, parent in _engines() if parent in raylets]

    def nodes(self) -> list[Any]:
        """Those that have cores."""
        return sorted(self.cluster.worker_nodes, key=lambda node: str(node.node_id))

    def until_ready(self) -> None:
        """Wait for every server.

        Raises:
            TimeoutError: one is not there after two minutes.
        """
        end = time.monotonic() + START_SECONDS
        while not all(server.is_ready() for server in self.servers):
            if time.monotonic() > end:
                late = [each for each in self.servers if not each.is_ready()]
                last = [f"{each.name}:\n{each.tail()}" for each in late]
                raise TimeoutError("\n".join(["not ready:", *last]))
            time.sleep(0.2)

    def states(self) -> dict[str, str]:
        """Every job in the table."""
        with psycopg.connect(self.postgres.url("chaos")) as connection:
            return dict(connection.execute("SELECT id, state FROM jobs").fetchall())

    def webhooks(self) -> dict[str, str]:
        """State of every webhook in the table."""
        with psycopg.connect(self.postgres.url("chaos")) as connection:
            return dict(connection.execute("SELECT id, state FROM webhooks").fetchall())

    def until_told(self, within: float) -> None:
        """Wait until no webhook waits, or the time is over.

        Later tries are hours apart: whatever is to be tried again is due now.
        """
        end = time.monotonic() + within
        while set(self.webhooks().values()) & {"waiting", "pending"} and time.monotonic() < end:
            with psycopg.connect(self.postgres.url("chaos")) as connection:
                connection.execute(
                    "UPDATE webhooks SET due = 0 WHERE state = 'pending' AND claim = '' AND due > 0"
                )
            time.sleep(DUE_SECONDS)

    def close(self) -> None:
        """End what is left, at once; servers that still run are killed."""
        for server in self.servers:
            server.end()
        self.receiver.kill()
        self.cluster.shutdown()
        self.postgres.remove()


def _node() -> dict[str, int]:
    return {"object_store_memory": STORE}


def _engines() -> list[tuple[int, int]]:
    """(process, its parent) of every actor that is an engine, on this machine."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "cmdline").read_bytes().startswith(ACTOR):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                found.append((int(entry.name), int(stat[1])))
        except OSError:
            continue  # it has just ended
    return found


def kill(pid: int) -> None:
    """If it is still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
