"""What keeps a process's memory to itself: no core dump, no debugger, no environment to be read.

Knows: Linux's prctl and rlimits, and where the environment lies.
Must not know: which settings there are.
"""

import ctypes
import os
import resource
from collections.abc import Collection

_PR_SET_DUMPABLE = 4

_libc = ctypes.CDLL(None, use_errno=True)


def keep_secrets(names: Collection[str]) -> None:
    """From now on no other process of this user can look inside; root can.

    Without the flag the kernel writes no core file and pipes none to a crash handler, which
    RLIMIT_CORE alone would not prevent, and refuses ptrace, /proc/PID/mem and /proc/PID/environ.
    The values of the variables `names` are overwritten where the kernel shows them, and where
    children would inherit them; Python keeps its own copy.

    Raises:
        OSError: the kernel refuses.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if _libc.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    _overwrite({name.encode() for name in names})


def _overwrite(names: Collection[bytes]) -> None:
    environ = ctypes.POINTER(ctypes.c_void_p).in_dll(_libc, "environ")
    index = 0
    while environ and (address := environ[index]):
        name, equals, value = ctypes.string_at(address).partition(b"=")
        if equals and name in names:
            ctypes.memset(address + len(name) + 1, 0, len(value))
        index += 1
