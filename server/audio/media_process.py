"""The parent's end of the media process: start it, hand it jobs, hear how they ended.

Knows: processes, Unix sockets, the event loop.
Must not know: what a decoder's report means, or what a client is told.
"""

import asyncio
import importlib.util
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_BOOTSTRAP = (
    "import json, sys; sys.path[:0] = json.loads(sys.argv.pop(1)); "
    "from server.audio.zygote import main; main()"
)
"""Isolated mode ignores PYTHONPATH and the working folder, so the code's place is an argument."""

_START_SECONDS = 30.0
_STOP_SECONDS = 5.0
_MESSAGE_BYTES = 16_384


class MediaProcessDied(Exception):
    """The media process is gone; whatever it was doing is lost."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a child ended: its exit status (below 0: minus the signal), and what it said last.

    The status comes from the media process and can be trusted; `report` comes from the child,
    which may be in a stranger's hands.
    """

    exit: int
    report: str


def _import_paths() -> list[str]:
    """Where this code lies, and PyAV, wherever this process would import it from."""
    spec = importlib.util.find_spec("av")
    if spec is None or spec.origin is None:
        return [str(_ROOT)]
    return [str(_ROOT), str(Path(spec.origin).parents[1])]


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    """Our end, which never blocks, and the other; messages keep their bounds."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


def _spawn(control: int, limits: str) -> subprocess.Popen[bytes]:
    arguments = [json.dumps(_import_paths()), str(control), str(os.getpid()), limits]
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-I", "-c", _BOOTSTRAP, *arguments],
        env={},  # no key of ours, nothing that steers a library
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(control,),
        start_new_session=True,
    )


async def _receive(end: socket.socket) -> bytes:
    try:
        message = await asyncio.get_running_loop().sock_recv(end, _MESSAGE_BYTES)
    except ConnectionError as error:
        raise MediaProcessDied("the media process was lost") from error
    if not message:
        raise MediaProcessDied("the media process was lost")
    return message


class MediaProcess:
    """One warm decoder process; make it with `start`, and end it with `close`."""

    def __init__(
        self, process: subprocess.Popen[bytes], control: socket.socket, missing: tuple[str, ...]
    ) -> None:
        """Take over a process that has said it is ready."""
        self._process = process
        self._control = control
        self.missing = missing
        self.pid = process.pid

    @classmethod
    async def start(cls, *, max_samples: int, seconds: int) -> "MediaProcess":
        """Start a process and wait until it is warm and knows which layers are missing.

        Call it on a thread that lives on: the kernel kills the process with the thread that
        started it.

        Raises:
            MediaProcessDied: it ended, or was not ready in time.
        """
        ours, theirs = _socket_pair()
        with theirs:
            limits = json.dumps({"max_samples": max_samples, "seconds": seconds})
            process = _spawn(theirs.fileno(), limits)
        try:
            async with asyncio.timeout(_START_SECONDS):
                ready = json.loads(await _receive(ours))
        except BaseException as error:
            ours.close()
            process.kill()
            process.wait()
            if isinstance(error, TimeoutError):
                raise MediaProcessDied("the media process was not ready in time") from error
            raise
        return cls(process, ours, tuple(ready["missing"]))

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    async def decode(self, upload: int, pcm: int) -> Verdict:
        """Have one child decode `upload` into `pcm`; when this returns, the child is gone.

        Cancellation kills the child.

        Raises:
            MediaProcessDied: before the job was done.
        """
        ours, theirs = _socket_pair()
        with ours:
            with theirs:
                try:
                    socket.send_fds(self._control, [b"job"], [upload, pcm, theirs.fileno()])
                except OSError as error:
                    raise MediaProcessDied("the media process takes no job") from error
            return Verdict(**json.loads(await _receive(ours)))

    async def close(self) -> None:
        """End the process and every child of it."""
        self._control.close()
        try:
            await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
