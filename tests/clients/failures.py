"""The ways in which a transcription fails, each brought about with a real server.

Knows: settings and circumstances. The engine alone is the one of `fake_server.py`.
Must not know: which client meets the failure, or what it shows.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from server_process import KEY, Process, Start, noise

ROUTE = "/v1/audio/transcriptions"
NOBODY = "http://127.0.0.1:9"
"""Port 9, discard: nothing listens there."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One way to fail: `title` is its row in docs/errors-as-read.md."""

    title: str
    upload: bytes | None = field(default_factory=lambda: noise(1.0))
    """None: the request has no file."""
    environ: Mapping[str, str] = field(default_factory=dict)
    key: str = KEY.key
    engine: str | None = None
    """How the engine breaks once the server is ready, as `fake_server.py` has it: "" hangs."""
    busy: bool = False
    """Another request has the only place, and keeps it."""
    stop: bool = False
    """The server is told to stop once the request has begun."""
    once: bool = False
    """The server does not outlive it."""
    gone: bool = False
    """There is no server at all."""


AT_ONCE = {"SUSSURRO_MAX_QUEUE_WAIT": "0"}

FAILURES = [
    Failure("A wrong key", key="sk-wrong"),
    Failure("No file", upload=None),
    Failure("An empty file", upload=b""),
    Failure("No audio in the file", upload=b"This is no recording. " * 100),
    Failure("Too long", noise(10.0), {"SUSSURRO_MAX_AUDIO_SECONDS": "5"}),
    Failure("Too big", noise(10.0), {"SUSSURRO_MAX_UPLOAD_BYTES": "100000"}),
    Failure(
        "Your share is used up",
        environ=AT_ONCE | {"SUSSURRO_MAX_REQUESTS_PER_KEY": "1"},
        engine="",
        busy=True,
    ),
    Failure("Busy", environ=AT_ONCE | {"SUSSURRO_MAX_REQUESTS": "1"}, engine="", busy=True),
    Failure(
        "About to stop",
        environ={"SUSSURRO_DRAIN_GRACE": "0", "SUSSURRO_DRAIN_TIMEOUT": "0.5"},
        engine="",
        stop=True,
        once=True,
    ),
    Failure("Fault of the engine", engine="0"),
    Failure("The engine hangs", environ={"FAKE_WINDOW_TIMEOUT": "1"}, engine="", once=True),
    Failure("Slower than allowed", environ={"SUSSURRO_REQUEST_TIMEOUT": "1"}, engine=""),
    Failure(
        "A fault after the answer has begun",
        environ={"SUSSURRO_KEEPALIVE_AFTER": "0.5", "SUSSURRO_KEEPALIVE_INTERVAL": "0.5"},
        engine="2",
    ),
    Failure("Nothing listens", gone=True),
]
TITLES = [failure.title for failure in FAILURES]


@contextlib.contextmanager
def occupied(server: Process, folder: Path) -> Iterator[None]:
    """Another transcription is under way, of the same key; it never ends by itself."""
    begun = folder / "begun"
    begun.unlink()  # the trial at the start has made it

    def ask() -> None:
        with contextlib.suppress(httpx.HTTPError), server.client() as client:
            client.post(ROUTE, files={"file": ("other.wav", noise(1.0))}, data={"language": "pt"})

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        while not begun.exists():
            thread.join(0.05)
            assert thread.is_alive(), "the place could not be taken"
        yield
    finally:
        server.popen.kill()
        thread.join()


@contextlib.contextmanager
def stopped(server: Process, folder: Path) -> Iterator[None]:
    """Told to stop as soon as a transcription is under way."""
    begun, over = folder / "begun", threading.Event()
    begun.unlink()  # the trial at the start has made it

    def stop() -> None:
        while not begun.exists():
            if over.wait(0.05):
                return
        server.popen.send_signal(signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def arranged(failure: Failure, start: Start, folder: Path) -> Iterator[Callable[[], str]]:
    """A function that gives the address of a server that fails so, a new one where it must."""
    with contextlib.ExitStack() as stack:
        servers: list[Process] = []

        def place() -> str:
            if failure.gone:
                return NOBODY
            if failure.once or not servers:
                servers.append(stack.enter_context(_server(failure, start, folder)))
            return servers[-1].url

        yield place


@contextlib.contextmanager
def _server(failure: Failure, start: Start, folder: Path) -> Iterator[Process]:
    broken, begun = folder / "broken", folder / "begun"
    broken.unlink(missing_ok=True)
    server = start(**failure.environ, FAKE_BROKEN=str(broken), FAKE_BEGUN=str(begun)).ready()
    if failure.engine is not None:
        broken.write_text(failure.engine)
    with contextlib.ExitStack() as stack:
        if failure.busy:
            stack.enter_context(occupied(server, folder))
        if failure.stop:
            stack.enter_context(stopped(server, folder))
        yield server
    server.popen.kill()
    assert failure.once or "" == server.stderr


def write_upload(failure: Failure, folder: Path) -> Path | None:
    """The failure's file on disk."""
    if failure.upload is None:
        return None
    path = folder / "meeting.wav"
    path.write_bytes(failure.upload)
    return path
