"""What a media decoder must give up before it reads a stranger's bytes.

Knows: Linux's prctl, rlimits and Landlock, and the order in which they are put on.
Must not know: media, or who decides what happens when a layer is missing.
"""

import ctypes
import errno
import os
import resource
import signal
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from server.audio.seccomp import restrict_system_calls

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38

_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446  # the same on every machine
_FILE_RIGHTS = (0, 0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF)
"""Every file right that a Landlock ABI knows, by ABI (linux/landlock.h)."""
_NET_ABI, _SCOPE_ABI = 4, 6

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one decoder may use; seconds are whole because the kernel counts them so."""

    memory_bytes: int
    output_bytes: int
    seconds: int


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _prctl(option: int, value: int = 0) -> int:
    return _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def _syscall(number: int, *arguments: object) -> int:
    return _check(_libc.syscall(ctypes.c_long(number), *arguments))


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the process `parent` is gone.

    Raises:
        ProcessLookupError: it is gone already.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError(errno.ESRCH, "the parent is gone")


def drop_privileges(limits: Limits) -> None:
    """No core file, no debugger, no gain through a set-uid program."""
    del limits
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def restrict_resources(limits: Limits) -> None:
    """Bound memory, processor time, wall time and output; no new file, no new process."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    signal.alarm(limits.seconds)
    for kind, soft, hard in (
        (resource.RLIMIT_AS, limits.memory_bytes, limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.seconds, limits.seconds + 1),
        (resource.RLIMIT_FSIZE, limits.output_bytes, limits.output_bytes),
        (resource.RLIMIT_NPROC, 0, 0),
        (resource.RLIMIT_NOFILE, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        lower_limit(kind, soft, hard)


def lower_limit(kind: int, soft: int, hard: int) -> None:
    """Set an rlimit, or leave it where somebody has set it lower."""
    _, ceiling = resource.getrlimit(kind)
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(kind, (soft, hard))


def restrict_files(limits: Limits) -> None:
    """Refuse every path, TCP port, abstract socket and signal that this Landlock ABI can refuse.

    Raises:
        OSError: the kernel has no Landlock.
    """
    del limits
    abi = _syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    rights = struct.pack(
        "=QQQ",
        _FILE_RIGHTS[min(abi, len(_FILE_RIGHTS) - 1)],
        0b11 if abi >= _NET_ABI else 0,
        0b11 if abi >= _SCOPE_ABI else 0,
    )
    # An older kernel takes the longer structure as long as what it does not know is zero.
    ruleset = _syscall(_LANDLOCK_CREATE_RULESET, rights, ctypes.c_size_t(24), ctypes.c_uint(0))
    try:
        _syscall(_LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0))
    finally:
        os.close(ruleset)


def restrict_calls(limits: Limits) -> None:
    """Leave only the system calls that decoding needs.

    Raises:
        OSError: no table for this machine, or no seccomp.
    """
    del limits
    restrict_system_calls()


LAYERS: Mapping[str, Callable[[Limits], None]] = {
    "privileges": drop_privileges,
    "landlock": restrict_files,
    "rlimits": restrict_resources,
    "seccomp": restrict_calls,
}
"""In the order in which they must be put on: each takes away what the ones before it need."""


def lock_down(limits: Limits, *, parent: int, keep: Iterable[int], without: Iterable[str]) -> None:
    """Put on every layer but those in `without`, for good.

    Args:
        limits: what may still be used.
        parent: the process with which this one dies.
        keep: file descriptors that stay open beside 0 to 2.
        without: layers that `missing_layers` found missing.

    Raises:
        OSError: a layer does not hold; the caller must not go on.
    """
    die_with_parent(parent)
    first = 3
    for fd in sorted(keep):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
    for name, put_on in LAYERS.items():
        if name not in without:
            put_on(limits)
