"""The system calls that a media decoder may make, as a classic BPF program.

Knows: call numbers of x86-64 and arm64, and the layout of `struct seccomp_data`.
Must not know: what the filtered process does, or the sandbox's other layers.
"""

import ctypes
import errno
import platform
import struct
from collections.abc import Mapping

ALLOWED: Mapping[str, tuple[int, int]] = {
    # files that are open already: nothing here opens, maps by name or looks at a path
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "lseek": (8, 62),
    "pread64": (17, 67),
    # memory; mmap and mprotect lose PROT_EXEC below
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    # locks and clocks of one thread
    "sched_yield": (24, 124),
    "futex": (202, 98),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    # who and where it is, and chance
    "getpid": (39, 172),
    "gettid": (186, 178),
    "sched_getaffinity": (204, 123),
    "getrandom": (318, 278),
    # the end; signals cannot be blocked, caught or re-timed, so every alarm is final
    "exit": (60, 93),
    "exit_group": (231, 94),
}
"""Name → (x86-64, arm64) number; sources: asm/unistd_64.h and asm-generic/unistd.h of Linux."""

REFUSED: Mapping[str, tuple[int, int]] = {"openat": (257, 56)}
"""Calls that fail with EACCES and do not kill: MPEG-TS has glibc look for a character set's
tables, and goes on without them."""

MACHINES: Mapping[str, tuple[int, int]] = {
    "x86_64": (0, 0xC000003E),
    "aarch64": (1, 0xC00000B7),
}
"""`platform.machine()` → (column of `ALLOWED`, AUDIT_ARCH of linux/audit.h)."""

RET_KILL_PROCESS = 0x8000_0000
RET_ERRNO = 0x0005_0000
RET_ALLOW = 0x7FFF_0000

_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_SET = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

_NUMBER, _ARCH, _THIRD_ARGUMENT = 0, 4, 32  # offsets in seccomp_data; low words, little-endian
_PROT_EXEC = 4

Instruction = tuple[int, int, int, int]
"""code, jump if true, jump if false, constant: `struct sock_filter`."""


def allow_list(machine: str) -> list[Instruction]:
    """The program for one machine: kill the process for whatever is in neither table.

    Raises:
        KeyError: for a machine that has no table.
    """
    column, arch = MACHINES[machine]
    program: list[Instruction] = [
        (_LOAD_WORD, 0, 0, _ARCH),
        (_JUMP_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, RET_KILL_PROCESS),
        (_LOAD_WORD, 0, 0, _NUMBER),
    ]
    for name, numbers in ALLOWED.items():
        if name in {"mmap", "mprotect"}:
            program += [
                (_JUMP_EQUAL, 0, 4, numbers[column]),
                (_LOAD_WORD, 0, 0, _THIRD_ARGUMENT),
                (_JUMP_SET, 0, 1, _PROT_EXEC),
                (_RETURN, 0, 0, RET_KILL_PROCESS),
                (_RETURN, 0, 0, RET_ALLOW),
            ]
        else:
            program += [(_JUMP_EQUAL, 0, 1, numbers[column]), (_RETURN, 0, 0, RET_ALLOW)]
    for numbers in REFUSED.values():
        program += [
            (_JUMP_EQUAL, 0, 1, numbers[column]),
            (_RETURN, 0, 0, RET_ERRNO | errno.EACCES),
        ]
    return [*program, (_RETURN, 0, 0, RET_KILL_PROCESS)]


class _Program(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(program: list[Instruction]) -> None:
    """Filter this process for good; `no_new_privs` must be set already.

    Raises:
        OSError: the kernel has no seccomp filters, or forbids them.
    """
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    libc = ctypes.CDLL(None, use_errno=True)
    argument = ctypes.byref(_Program(len(program), packed))
    if libc.prctl(22, ctypes.c_ulong(2), argument, 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "seccomp filter refused")


def restrict_system_calls() -> None:
    """Leave this process the calls in `ALLOWED`; any other one fails or kills it.

    Raises:
        OSError: no table for this machine, or the kernel refuses.
    """
    machine = platform.machine()
    if machine not in MACHINES:
        raise OSError(f"no table of system calls for {machine}")
    install(allow_list(machine))
