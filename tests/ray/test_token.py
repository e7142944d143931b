"""A cluster with a token: who has it joins, who has not does not."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_engines import WEIGHTS
from server_process import ROOT, launcher

RAY = [sys.executable, "-W", "ignore", "-m", "ray.scripts.scripts"]
CLIP = (Path(__file__).parents[1] / "audio" / "pt-chuva.ogg").read_bytes()
JOIN = "import ray, sys; ray.init(address=sys.argv[1]); print('joined', len(ray.nodes()))"


def token_file(folder: Path, name: str) -> dict[str, str]:
    """The environment of who has a token of its own."""
    path = folder / name
    path.write_text(name * 8)
    path.chmod(0o600)
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)}


@pytest.fixture
def head(tmp_path: Path) -> Iterator[str]:
    """The address of a head with a core and a token, started as docs/cluster.md says."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start = ["start", "--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false"]
    # A short name: the sockets in it have at most 107 letters.
    folder = tempfile.mkdtemp(prefix="ray-")
    start += ["--block", f"--temp-dir={folder}", "--object-store-memory=200000000"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **token_file(tmp_path, "right")}
    with (tmp_path / "head.log").open("wb") as out:
        ray = subprocess.Popen(
            [*RAY, *start], env=environ, stdout=out, stderr=out, start_new_session=True
        )
    yield f"127.0.0.1:{port}"
    os.killpg(ray.pid, signal.SIGKILL)
    ray.wait(30)
    shutil.rmtree(folder)


def joins(address: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A program of somebody's that wants to run something there."""
    return subprocess.run(
        [sys.executable, "-c", JOIN, address],
        env={**os.environ, "RAY_gcs_server_request_timeout_seconds": "20", **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_only_who_has_the_token_joins(head: str, tmp_path: Path) -> None:
    """The server with it transcribes; without it or with another, nobody joins or is served."""
    right, wrong = token_file(tmp_path, "right"), token_file(tmp_path, "wrong")
    settings = {
        "SUSSURRO_ENGINE": "ray",
        "SUSSURRO_RAY_ADDRESS": head,
        "SUSSURRO_WEIGHTS_DIR": str(WEIGHTS),
        "SUSSURRO_ENCODER": "ctranslate2",
    }
    with launcher(tmp_path) as launch:
        server = launch("-W", "default", "-m", "server", **settings, **right).ready()
        with server.client() as client:
            answer = client.post(
                "/v1/audio/transcriptions",
                files={"file": ("a.ogg", CLIP)},
                data={"model": "base", "language": "pt"},
            )
        assert "chuva" in answer.json()["text"].lower()
        refused = launch("-W", "default", "-m", "server", **settings, **wrong)
        assert 1 == refused.exit_code(60)
        assert refused.lines("loading_failed")
        assert 0 == server.stop()
    assert "joined 1" in joins(head, **right).stdout
    for environ in (wrong, {"RAY_AUTH_MODE": "disabled"}):
        done = joins(head, **environ)
        assert 0 != done.returncode
        assert "joined" not in done.stdout
        assert "token" in done.stderr.lower(), done.stderr
