"""n8n as a program: credentials and workflows are imported, workflows executed without its editor.

Knows: n8n's command line and what it prints.
Must not know: what the workflows are for, or where n8n comes from.
"""

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from n8n_install import ENVIRON, HOME

Json = dict[str, Any]


def free_port() -> int:
    """A port that nobody has just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of a workflow."""

    data: Json
    seconds: float

    def items(self, node: str) -> list[Json]:
        """What a node gave to the next one: `json`, and `binary` where there is a file."""
        return self.data["runData"][node][0]["data"]["main"][0]  # type: ignore[no-any-return]

    def output(self, node: str) -> Any:
        """The `json` of a node's only item."""
        (item,) = self.items(node)
        return item["json"]

    @property
    def error(self) -> tuple[str, str]:
        """The title and the description that the editor shows below a failed node."""
        error = self.data.get("error") or {}
        return error.get("message") or "", error.get("description") or ""


class N8n:
    """One installation with a database of its own."""

    def __init__(self, folder: Path, files: Path, ca: Path | None) -> None:
        """A database in `folder`; nodes may read `files`; `ca` is trusted, too."""
        self._folder = folder
        self._environ = ENVIRON | {
            "HOME": str(folder),
            "N8N_USER_FOLDER": str(folder),
            "N8N_ENCRYPTION_KEY": "throw-away",
            "N8N_RESTRICT_FILE_ACCESS_TO": str(files),
            "N8N_LOG_LEVEL": "info",
            "N8N_DIAGNOSTICS_ENABLED": "false",
            "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
            "N8N_TEMPLATES_ENABLED": "false",
            "N8N_PERSONALIZATION_ENABLED": "false",
            "N8N_SECURE_COOKIE": "false",
            "NODE_FUNCTION_ALLOW_BUILTIN": "crypto",
        }
        if ca is not None:
            self._environ["NODE_EXTRA_CA_CERTS"] = str(ca)

    def load(self, credentials: Sequence[Json], workflows: Sequence[Json]) -> None:
        """Import both."""
        for kind, things in (("credentials", credentials), ("workflow", workflows)):
            if not things:
                continue
            path = self._folder / f"{kind}.json"
            path.write_text(json.dumps(list(things)))
            done = self._run(f"import:{kind}", f"--input={path}")
            assert f"Successfully imported {len(things)} " in done.stdout, done.stdout + done.stderr

    def execute(self, workflow: str, within: float = 90.0) -> Execution:
        """Run a workflow from its manual trigger to its end, or its first error."""
        started = time.monotonic()
        done = self._run("execute", f"--id={workflow}", "--rawOutput", within=within)
        seconds = time.monotonic() - started
        # beside the data n8n prints what a person would read; judge by the data alone
        at = done.stdout.find('{\n  "data": {')
        assert at >= 0, done.stdout + done.stderr
        data, _ = json.JSONDecoder().raw_decode(done.stdout, at)
        return Execution(data["data"]["resultData"], seconds)

    @contextlib.contextmanager
    def serving(self, workflow: str, path: str) -> Iterator[httpx.Client]:
        """n8n as people keep it running, with a workflow published that begins at `path`."""
        self._run("publish:workflow", f"--id={workflow}")
        port = free_port()
        environ = self._environ | {
            "N8N_PORT": str(port),
            "N8N_RUNNERS_BROKER_PORT": str(free_port()),
        }
        log = self._folder / "start.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*self._program(), "start"], env=environ, stdout=out, stderr=out
            )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                _wait_for(client, path, process, log)
                yield client
        finally:
            process.terminate()
            process.wait(30)

    def _run(self, *arguments: str, within: float = 90.0) -> subprocess.CompletedProcess[str]:
        environ = self._environ | {"N8N_RUNNERS_BROKER_PORT": str(free_port())}
        return subprocess.run(
            [*self._program(), *arguments],
            env=environ,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )

    @staticmethod
    def _program() -> list[str]:
        return [str(HOME / "node_modules" / ".bin" / "n8n")]


def _wait_for(
    client: httpx.Client, path: str, process: "subprocess.Popen[bytes]", log: Path
) -> None:
    """Until n8n shows the form, or says that the webhook is for POST."""
    end = time.monotonic() + 90
    while True:
        with contextlib.suppress(httpx.HTTPError):
            answer = client.get(path)
            if answer.status_code == 200 or "make a POST request" in answer.text:
                return
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(log.read_text())
        time.sleep(0.5)
