"""A store of one's own that speaks S3: SeaweedFS, from its wheel."""

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

NAMES = ("s3", "master", "volume", "filer")


def free_port() -> int:
    """One that nobody has, nor the one 10,000 above it, where it talks to itself."""
    for port in range(20_000, 50_000, 7):
        with contextlib.suppress(OSError, OverflowError), contextlib.ExitStack() as stack:
            for each in (port, port + 10_000):
                stack.enter_context(socket.create_server(("127.0.0.1", each)))
            return port
    pytest.fail("no port is free")


class S3Store:
    """On free ports of loopback. A kill of its process loses nothing that it has answered for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports: dict[str, int] = {}
        for name in NAMES:
            port = free_port()
            while port in self._ports.values():
                port += 11
            self._ports[name] = port
        self._process: subprocess.Popen[bytes] | None = None
        self.environ = {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self._ports['s3']}",
            "AWS_ACCESS_KEY_ID": "anybody",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_DEFAULT_REGION": "sa-east-1",
        }

    def start(self) -> None:
        """Start it (again), and return when it answers."""
        program = Path(sys.executable).with_name("weed")
        ports = [f"-{name}.port={port}" for name, port in self._ports.items()]
        sizes = [
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-volume.max=8",
            "-master.volumeSizeLimitMB=64",
        ]
        with (self._folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "server", f"-dir={self._folder}", "-s3", "-ip=127.0.0.1", *ports, *sizes],
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if self._writes():
                return
            time.sleep(0.2)
        pytest.fail(f"{program} does not start:\n{(self._folder / 'weed.log').read_text()[-3000:]}")

    def _writes(self) -> bool:
        import s3fs  # noqa: PLC0415 - what runs this file has it

        files = s3fs.S3FileSystem(
            endpoint_url=self.environ["AWS_ENDPOINT_URL_S3"],
            key="anybody",
            secret="anything",
            skip_instance_cache=True,
            config_kwargs={"connect_timeout": 1, "read_timeout": 3, "retries": {"max_attempts": 0}},
        )
        try:
            if not files.exists("jobs"):
                files.mkdir("jobs")
            files.pipe_file("jobs/ready", b"yes")
        except Exception:  # noqa: BLE001 - it has many words for «not yet»
            return False
        return True

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

    def remove(self) -> None:
        """Stop it, and forget what it holds."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
