"""The media process: warm, single-threaded, forks one locked-down decoder for each file.

Knows: descriptors that arrive over a Unix socket, child processes, the sandbox.
Must not know: requests, keys, settings; its environment is empty. Started by `loader` alone.

One message on the control socket is one job with three descriptors: the upload, the file for the
samples, and the job's own socket. The job's socket carries one message back, when the child is
dead and gone; if the parent closes it first, the child is killed.
"""

import contextlib
import ctypes
import gc
import json
import os
import resource
import selectors
import signal
import socket
import sys
from dataclasses import dataclass

from server.audio.loader_child import load
from server.audio.loader_io import Rejected, tiny_wav
from server.audio.sandbox import Limits, die_with_parent, lock_down, lower_limit
from server.audio.sandbox_proof import missing_layers

MEMORY_MARGIN_BYTES = 256 << 20
"""Address space for one decode beyond the warm process; a two-hour film with sound took 16 MiB."""

MAX_FILES = 512
"""Open files of this process: eight a job at 64 jobs, the most that settings allow, is ample."""

REPORT_BYTES = 1_024
"""The most of a child's report that is passed on; JSON may make six bytes of one."""

EXIT_NO_SANDBOX = 70
EXIT_NO_REPORT = 71


@dataclass(frozen=True, slots=True)
class Task:
    """What is the same for every job of one process."""

    max_samples: int
    limits: Limits
    without: tuple[str, ...]


def main() -> None:
    """Run until the parent closes the control socket; argv: its descriptor, pid, JSON limits."""
    control = socket.socket(fileno=int(sys.argv[1]))
    die_with_parent(int(sys.argv[2]))
    wanted = json.loads(sys.argv[3])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent drains first, then closes the socket
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    lower_limit(resource.RLIMIT_NOFILE, MAX_FILES, MAX_FILES)
    warm_up()
    missing = missing_layers()
    limits = Limits(
        memory_bytes=_address_space_bytes() + MEMORY_MARGIN_BYTES,
        output_bytes=2 * wanted["max_samples"],
        seconds=wanted["seconds"],
    )
    gc.freeze()  # a child's collector must not copy the parent's pages
    control.send(json.dumps({"missing": missing}).encode())
    os.dup2(0, 2)  # from here on, no word of FFmpeg's reaches the logs
    Zygote(control, Task(wanted["max_samples"], limits, missing)).run()


def _address_space_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - not a folder's file
        return int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def warm_up() -> None:
    """Load whatever Python, FFmpeg and glibc load lazily, on our own bytes, good and bad ones."""
    libc = ctypes.CDLL(None)
    libc.iconv_open.restype = ctypes.c_void_p
    libc.iconv_open(b"UTF-8", b"ISO6937")  # MPEG-TS names its services in it
    for content in (tiny_wav(), b"no media"):
        with (
            open(os.memfd_create("upload"), "w+b", buffering=0) as upload,  # noqa: PTH123
            open(os.memfd_create("pcm"), "w+b", buffering=0) as pcm,  # noqa: PTH123
            contextlib.suppress(Rejected),
        ):
            upload.write(content)
            load(upload.fileno(), pcm.fileno(), 16_000)


class Zygote:
    """The loop: take jobs, fork, kill what is no longer wanted, tell how each child ended."""

    def __init__(self, control: socket.socket, task: Task) -> None:
        """Serve `control` with the same `task` for every job."""
        self._control = control
        self._task = task
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, self._take)

    def run(self) -> None:
        """Until the parent closes the control socket; the children die with this process."""
        while self._control.fileno() >= 0:
            for key, _ in self._selector.select():
                key.data()

    def _take(self) -> None:
        message, fds, _, _ = socket.recv_fds(self._control, 16, 3)
        if not message:
            self._selector.unregister(self._control)
            self._control.close()
            return
        upload, pcm, job = fds
        report_out, report_in = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            decode_and_exit(self._task, parent, (upload, pcm, report_in))
        for fd in (upload, pcm, report_in):
            os.close(fd)
        Job(self._selector, pid, socket.socket(fileno=job), report_out)


class Job:
    """One child, from fork to verdict."""

    def __init__(
        self, selector: selectors.BaseSelector, pid: int, parent: socket.socket, report: int
    ) -> None:
        """Watch the child's end and the parent's interest in it."""
        self._selector = selector
        self._pid = pid
        self._pidfd = os.pidfd_open(pid)
        self._parent: socket.socket | None = parent
        self._report = report
        selector.register(self._pidfd, selectors.EVENT_READ, self._finish)
        selector.register(parent, selectors.EVENT_READ, self._abandon)

    def _abandon(self) -> None:
        """The parent has closed the job: it no longer waits, or it is gone."""
        if self._parent is not None:
            os.kill(self._pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
            self._close_parent(self._parent)

    def _finish(self) -> None:
        _, status = os.waitpid(self._pid, 0)
        os.set_blocking(self._report, False)
        report = b""
        with contextlib.suppress(BlockingIOError):
            report = os.read(self._report, REPORT_BYTES)
        os.close(self._report)
        self._selector.unregister(self._pidfd)
        os.close(self._pidfd)
        if self._parent is not None:
            verdict = {
                "exit": os.waitstatus_to_exitcode(status),
                "report": report.decode("ascii", "replace"),
            }
            with contextlib.suppress(OSError):  # the parent may leave at this very moment
                self._parent.send(json.dumps(verdict).encode())
            self._close_parent(self._parent)

    def _close_parent(self, parent: socket.socket) -> None:
        self._selector.unregister(parent)
        parent.close()
        self._parent = None


def decode_and_exit(task: Task, parent: int, fds: tuple[int, int, int]) -> None:
    """The child: lock down, decode from the first descriptor to the second, report on the third.

    Never returns; the exit status says how far it came.
    """
    upload, pcm, report = fds
    code = EXIT_NO_SANDBOX
    try:
        os.dup2(1, 2)  # nowhere: the other end of standard error is the server's log
        lock_down(task.limits, parent=parent, keep=fds, without=task.without)
        code = EXIT_NO_REPORT
        os.write(report, _outcome(task, upload, pcm))
        code = 0
    finally:
        os._exit(code)


def _outcome(task: Task, upload: int, pcm: int) -> bytes:
    try:
        outcome: dict[str, object] = {"warnings": load(upload, pcm, task.max_samples)}
    except Rejected as rejected:
        outcome = {"reason": rejected.reason}
    except MemoryError:
        return b'{"reason": "out_of_memory"}'
    except Exception as error:  # noqa: BLE001 - the parent makes an internal error of it
        outcome = {"fault": type(error).__name__}
    return json.dumps(outcome).encode()
