"""Whether each layer of the sandbox really holds on this kernel.

Knows: one forbidden deed for every layer.
Must not know: what is done about a layer that is missing.
"""

import ctypes
import mmap
import os
import signal
import socket
from collections.abc import Callable, Mapping

from server.audio.sandbox import LAYERS, Limits, drop_privileges

_PR_GET_DUMPABLE = 3
_PR_GET_NO_NEW_PRIVS = 39


def missing_layers() -> tuple[str, ...]:
    """The names of the layers that this kernel does not give, each proven in a child of its own.

    A layer counts as there when what it forbids is refused, not when installing it succeeds.
    Forks, so the caller must have one thread.
    """
    return tuple(name for name in LAYERS if not _layer_holds(name))


def _layer_holds(name: str) -> bool:
    check, by_signal = _PROOFS[name]
    pid = os.fork()
    if pid == 0:
        _prove(name, check)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == -by_signal


def _prove(name: str, check: Callable[[], bool]) -> None:
    limits = Limits(memory_bytes=1 << 34, output_bytes=0, seconds=10)
    held = False
    try:
        drop_privileges(limits)  # Landlock and seccomp ask for no_new_privs
        LAYERS[name](limits)
        held = check()
    finally:
        os._exit(0 if held else 1)


def _privileges_hold() -> bool:
    libc = ctypes.CDLL(None)
    dumpable: int = libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0)
    no_new_privs: int = libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
    return (dumpable, no_new_privs) == (0, 1)


def _landlock_holds() -> bool:
    return _raises(PermissionError, lambda: os.open("/", os.O_RDONLY))


def _rlimits_hold() -> bool:
    # A private read-only map is never refused for lack of memory, so only the limit refuses it.
    return _raises(
        OSError, lambda: mmap.mmap(-1, 1 << 35, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    ) and _raises(OSError, lambda: os.dup(0))


def _seccomp_holds() -> bool:
    socket.socket(socket.AF_UNIX)  # must not return
    return False


def _raises(kind: type[Exception], action: Callable[[], object]) -> bool:
    try:
        action()
    except kind:
        return True
    return False


_PROOFS: Mapping[str, tuple[Callable[[], bool], int]] = {
    "privileges": (_privileges_hold, 0),
    "landlock": (_landlock_holds, 0),
    "rlimits": (_rlimits_hold, 0),
    "seccomp": (_seccomp_holds, signal.SIGSYS),
}
"""Layer → a check inside it, and the signal by which the check must die (0: it returns True)."""
