"""2 GB where 100 MB are taken: what each client is told, and what it costs the server."""

import contextlib
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from node_sdk import Node
from server_process import KEY, Process, launcher

LIMIT = 100_000_000
SIZE = 2_000_000_000
TOLD = f"Maximum content size limit ({LIMIT}) exceeded"
MEMORY_BYTES = 64 << 20
"""What a refused upload may add to the server's peak."""

DISK_BYTES = 2 << 20
"""What is on the disk beside uploads."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One server for all tests of this file."""
    with launcher(tmp_path_factory.mktemp("server")) as launch:
        # other tests may keep both cores busy, and then 30 s are hardly enough
        more = {"SUSSURRO_DISCARD_TIMEOUT": "90"}
        yield launch(SUSSURRO_MAX_UPLOAD_BYTES=str(LIMIT), **more).ready()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 2 GB that takes no space."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with path.open("wb") as file:
        file.truncate(SIZE)
    return path


def spooled(server: Process) -> int:
    """Bytes of the files without a name that the server has open."""
    total = 0
    for link in Path(f"/proc/{server.popen.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if str(link.readlink()).endswith("(deleted)"):
                total += link.stat().st_size
    return total


def peak(server: Process) -> int:
    """The most memory that the server has held so far, in bytes."""
    status = Path(f"/proc/{server.popen.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10


@pytest.fixture(autouse=True)
def bounded(server: Process) -> Iterator[None]:
    """Memory and disk do not follow what is sent."""
    before, most, over = peak(server), [0], threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            most[0] = max(most[0], spooled(server))

    thread = threading.Thread(target=look)
    thread.start()
    yield
    over.set()
    thread.join()
    assert most[0] <= LIMIT + DISK_BYTES
    assert peak(server) - before < MEMORY_BYTES
    assert spooled(server) < DISK_BYTES


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    "more",
    [[], ["-H", "Expect:"], ["-H", "Expect:", "-H", "Transfer-Encoding: chunked"]],
    ids=["asks first", "sends at once", "chunked"],
)
def test_curl(server: Process, film: Path, more: list[str]) -> None:
    """The message is printed, whether curl asks first, sends at once, or says no length."""
    command = ["curl", "-sS", f"{server.url}/v1/audio/transcriptions", "-F", f"file=@{film}"]
    command += ["-H", f"Authorization: Bearer {KEY.key}", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    assert TOLD in json.loads(done.stdout)["error"]["message"]


def test_python(server: Process, film: Path) -> None:
    """OpenAI's SDK raises its error for the status, with the message."""
    with (
        openai.OpenAI(api_key=KEY.key, base_url=f"{server.url}/v1", max_retries=0) as sdk,
        film.open("rb") as file,
        pytest.raises(openai.APIStatusError, match="Maximum content size") as caught,
    ):
        sdk.audio.transcriptions.create(model="whisper-1", file=file)

    assert (413, "upload_too_large") == (caught.value.status_code, caught.value.code)


def test_node(server: Process, film: Path, node: Node) -> None:
    """So does the one for Node; it streams, so the bytes have to be counted."""
    error = node(server.url, file=film)["error"]

    assert (413, "upload_too_large") == (error["status"], error["code"])
    assert TOLD in error["message"]
