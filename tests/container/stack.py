"""The shipped compose files, run in a folder of their own by the real Compose."""

import json
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from private_engine import Engine

from server.access.keys import new_key

ROOT = Path(__file__).parents[2]
PROJECT = "sussurro"
IMAGE = f"{PROJECT}-server"
GPU_IMAGE, BUILD_IMAGE = f"{PROJECT}-server-gpu", f"{PROJECT}-engine-build"
HOST, COOLIFY_HOST = "speech.test", "coolify.test"
COMPOSE = Path(sys.executable).with_name("docker-compose")
FILES = (
    "compose.yaml",
    "compose.ports.yaml",
    "compose.replicas.yaml",
    "ops/container/seccomp.json",
    "ops/container/traefik-tls.yaml",
)
CLIP = ROOT / "ops" / "samples" / "english.ogg"
KEY = new_key("container")
READY_SECONDS = 90.0

MEASURED: dict[str, str] = {}
"""What the tests found out, for the docs; printed at the end."""


@dataclass(frozen=True)
class Built:
    """What was built, while there was a network."""

    engine: Engine
    with_a_wrong_pin: subprocess.CompletedProcess[str]


def wait_for(condition: Callable[[], bool], what: str, within: float = READY_SECONDS) -> None:
    """Poll until it is so."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"not so within {within:g} s: {what}"
        time.sleep(0.2)


class Stack:
    """One project: its folder holds what a person would have there, and .env."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        for name in FILES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
        shutil.copyfile(Path(__file__).with_name("coolify.yaml"), folder / "coolify.yaml")
        self.files = ("compose.yaml",)
        self.environ: dict[str, str] = {}
        self.configure(KEY.record)

    def configure(self, records: str, **more: str) -> None:
        """Write .env, as an operator would."""
        self.environ |= {
            "COMPOSE_PROFILES": "cpu",
            "COMPOSE_PROJECT_NAME": PROJECT,
            "SUSSURRO_API_KEYS": records,
            "MEMORY_LIMIT": "3g",
            "SPOOL_SIZE": "1g",
            **more,
        }
        text = "".join(f"{name}={value}\n" for name, value in self.environ.items())
        (self.folder / ".env").write_text(text)

    def compose(self, *arguments: str) -> str:
        """Run Compose on the chosen files; its standard output."""
        files = [part for name in self.files for part in ("--file", name)]
        done = subprocess.run(
            [COMPOSE, "--project-directory", self.folder, *files, *arguments],
            cwd=self.folder,
            env=self.engine.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"compose {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def up(self, *files: str) -> Iterator[None]:
        """The services of these files, healthy, for as long as the context lasts."""
        self.files = files
        try:
            self.compose("up", "--detach", "--no-build", "--pull", "never")
            for name in self.servers():
                self.wait_until_healthy(name)
            yield
        finally:
            self.compose("down", "--timeout", "10")

    def servers(self) -> list[str]:
        """The names of the server's containers, sorted."""
        return sorted(self.compose("ps", "--all", "--format", "{{.Name}}", "server").split())

    def state(self, name: str) -> dict[str, Any]:
        """A container's state."""
        state: dict[str, Any] = self.engine.inspect(name)["State"]
        return state

    def wait_until_healthy(self, name: str) -> None:
        """Docker's own word for it."""
        wait_for(
            lambda: self.state(name)["Health"]["Status"] == "healthy",
            f"{name} is healthy: {self.logs(name)[-5:]}",
        )

    def logs(self, name: str) -> list[dict[str, Any]]:
        """A container's log lines; all of them are JSON."""
        text = self.engine.docker("logs", name).stdout
        return [json.loads(line) for line in text.splitlines()]

    def python(self, name: str, script: str, *arguments: str) -> str:
        """What a script prints that runs in a container, as the server's user."""
        return self.engine.docker(
            "exec", "-i", name, "python", "-c", script, *arguments
        ).stdout.strip()


def transcribe(
    client: httpx.Client, key: str = KEY.key, clip: Path = CLIP, **fields: str
) -> httpx.Response:
    """Send a clip."""
    return client.post(
        "/v1/audio/transcriptions",
        headers={"Authorization": f"Bearer {key}"},
        files={"file": (clip.name, clip.read_bytes())},
        data={"model": "whisper-1", "language": "en", **fields},
    )


def through(context: ssl.SSLContext, host: str, port: int = 8443) -> httpx.Client:
    """A client of the proxy, by the name that it routes by."""
    return httpx.Client(
        base_url=f"https://localhost:{port}", headers={"host": host}, verify=context, timeout=120
    )
