"""The sandbox from inside: every deed that a hijacked decoder would try, tried."""

import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.audio import seccomp
from server.audio.sandbox import LAYERS

ROOT = Path(__file__).parents[2]

PREPARE = """
import ctypes, mmap, os, resource, signal, socket, subprocess, sys, threading, time
from server.audio.sandbox import LAYERS, Limits, lock_down
libc = ctypes.CDLL(None, use_errno=True)
lock = threading.Lock()
victim = os.getppid()
output = os.memfd_create("output")
limits = Limits(memory_bytes=1 << 29, output_bytes=1 << 20, seconds={seconds})
lock_down(limits, parent=victim, keep=(output,), without={without!r})
"""

REFUSED = 64
DONE = 65


def attempt(deed: str, *, without: tuple[str, ...] = (), seconds: int = 20) -> int:
    """Run `deed` in a locked-down process; its exit status, `DONE` if nothing stopped it."""
    code = PREPARE.format(without=without, seconds=seconds) + (
        f"try:\n    {deed}\nexcept (OSError, MemoryError):\n    os._exit({REFUSED})\n"
        f"os._exit({DONE})\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=False, stderr=subprocess.DEVNULL
    ).returncode


KILLED = [
    "socket.socket(socket.AF_UNIX)",
    "socket.socket(socket.AF_INET)",
    "os.fork()",
    "threading.Thread(target=print).start()",
    "os.execv('/bin/true', ['true'])",
    "libc.ptrace(16, victim, 0, 0)",
    "os.kill(victim, signal.SIGTERM)",
    "os.kill(os.getpid(), 0)",
    "os.stat('/etc/passwd')",
    "os.readlink('/proc/self/exe')",
    "os.unlink('/tmp/x')",
    "os.chmod('/tmp', 0o777)",
    "os.dup(output)",
    "os.ftruncate(output, 0)",
    "os.pipe()",
    "os.memfd_create('x')",
    "os.setuid(0)",
    "os.setsid()",
    "signal.signal(signal.SIGALRM, signal.SIG_IGN)",
    "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})",
    "signal.alarm(0)",
    "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "libc.prctl(4, 1, 0, 0, 0)",
    "libc.syscall(321, 0, 0, 0)",
    "libc.syscall(425, 1, 0)",
    "libc.unshare(0x10000000)",
    "libc.process_vm_readv(victim, 0, 0, 0, 0, 0)",
    "libc.sendmsg(1, 0, 0)",
    "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
    "libc.mprotect(ctypes.c_void_p(0), 4096, 7)",
]


@pytest.mark.parametrize("deed", KILLED)
def test_forbidden_deeds_kill(deed: str) -> None:
    """Whatever decoding does not need ends the process by SIGSYS."""
    assert attempt(deed) == -signal.SIGSYS


@pytest.mark.parametrize(
    "deed",
    [
        "os.open('/etc/passwd', os.O_RDONLY)",
        "os.open('/tmp/x', os.O_WRONLY | os.O_CREAT)",
        "os.listdir('/')",
    ],
)
def test_opening_fails(deed: str) -> None:
    """No path can be opened, for reading or for writing."""
    assert attempt(deed) == REFUSED


@pytest.mark.parametrize(
    "deed",
    [
        "os.open('/etc/passwd', os.O_RDONLY)",
        "os.open('/', os.O_RDONLY)",
        "os.open('/tmp/sussurro-test', os.O_WRONLY | os.O_CREAT)",
        "os.unlink('/tmp/sussurro-test')",
        "os.mkdir('/tmp/sussurro-test')",
        "os.execv('/bin/true', ['true'])",
    ],
)
def test_landlock_alone_refuses_paths(deed: str) -> None:
    """With neither seccomp nor rlimits, Landlock still refuses every path."""
    assert attempt(deed, without=("seccomp", "rlimits")) == REFUSED


@pytest.mark.parametrize(
    "deed",
    [
        "os.open('/etc/passwd', os.O_RDONLY)",
        "os.dup(output)",
        "socket.socket()",
        "mmap.mmap(-1, 1 << 30)",
        "bytearray(1 << 30)",
        "os.write(output, bytes((1 << 20) + 1)) > 1 << 20 or os.write(output, b'x')",
    ],
)
def test_rlimits_alone_refuse_growth(deed: str) -> None:
    """With rlimits alone: no new file, no gigabyte of memory, no byte beyond the output's cap."""
    assert attempt(deed, without=("seccomp", "landlock")) == REFUSED


def test_permitted_deeds_work() -> None:
    """A decoder can compute, allocate, read the clock and write its output."""
    deed = "bytearray(1 << 24); time.monotonic(); os.write(output, b'x'); os.pread(output, 1, 0)"

    assert attempt(deed) == DONE


def test_memory_is_bounded() -> None:
    """A decoder that asks for more than its share gets an error, under the whole sandbox."""
    assert attempt("bytearray(1 << 30)") == REFUSED


def test_processor_time_is_bounded() -> None:
    """A busy loop ends by SIGXCPU even where no alarm is set."""
    assert attempt("signal.alarm(0)\n    while True: pass", without=("seccomp",), seconds=1) == (
        -signal.SIGXCPU
    )


@pytest.mark.parametrize("deed", ["while True: pass", "lock.acquire(); lock.acquire()"])
def test_wall_time_is_bounded(deed: str) -> None:
    """A loop, and a wait that uses no processor, end by an alarm that cannot be put off."""
    assert attempt(deed, seconds=1) in {-signal.SIGALRM, -signal.SIGXCPU}


def test_files_that_are_not_kept_are_closed() -> None:
    """A descriptor that the decoder does not need is not there."""
    deed = "os.read(extra, 1)"
    code = PREPARE.replace("limits =", "extra = os.open('/etc/passwd', os.O_RDONLY)\nlimits =")
    script = code.format(without=(), seconds=5) + (
        f"try:\n    {deed}\nexcept OSError:\n    os._exit({REFUSED})\n"
    )

    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == (
        REFUSED
    )


def test_a_decoder_dies_with_its_parent() -> None:
    """A decoder whose parent is already gone does not start."""
    script = (
        "import os\nfrom server.audio.sandbox import die_with_parent\n"
        "try:\n    die_with_parent(os.getpid())\n"
        f"except ProcessLookupError:\n    os._exit({DONE})\n"
    )

    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == DONE


def test_this_kernel_has_every_layer() -> None:
    """The proofs find all four layers where these tests run."""
    script = "from server.audio.sandbox_proof import missing_layers; print(missing_layers())"

    found = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )

    assert found.stdout.strip() == "()"
    assert list(LAYERS) == ["privileges", "landlock", "rlimits", "seccomp"]


WITHOUT_A_LAYER = """
import asyncio, errno, os, sys
from pathlib import Path
from server.audio import seccomp
from server.audio.loader import Loader, SandboxUnavailable
from server.audio.sandbox import Limits, drop_privileges

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
landlock, prctl = 444, {{"x86_64": 157, "aarch64": 167}}[os.uname().machine]
programs = {{
    "landlock": [(LOAD, 0, 0, 0), (EQUAL, 0, 1, landlock), (RETURN, 0, 0, 0x50000 | errno.ENOSYS),
                 (RETURN, 0, 0, seccomp.RET_ALLOW)],
    "seccomp": [(LOAD, 0, 0, 0), (EQUAL, 0, 3, prctl), (LOAD, 0, 0, 16), (EQUAL, 0, 1, 22),
                (RETURN, 0, 0, 0x50000 | errno.EINVAL), (RETURN, 0, 0, seccomp.RET_ALLOW)],
}}
drop_privileges(Limits(0, 0, 0))
seccomp.install(programs[{layer!r}])

async def main():
    loader = Loader(spool_dir=Path({spool!r}), max_audio_seconds=60.0, load_timeout=20.0,
                    max_loads=1, sandbox={sandbox!r})
    try:
        print("started without", *await loader.start())
    except SandboxUnavailable as error:
        print("refused for", *error.missing)
    await loader.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("layer", ["landlock", "seccomp"])
@pytest.mark.parametrize(
    ("sandbox", "outcome"), [("required", "refused for"), ("available", "started without")]
)
def test_a_kernel_without_a_layer(tmp_path: Path, layer: str, sandbox: str, outcome: str) -> None:
    """`required` refuses to start and names the layer; `available` starts, decodes and names it.

    The kernel's lack is real: a filter around the whole server answers as an old kernel would.
    """
    script = WITHOUT_A_LAYER.format(layer=layer, spool=str(tmp_path), sandbox=sandbox)

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )

    assert done.stdout.strip() == f"{outcome} {layer}"


def verdict(program: list[seccomp.Instruction], arch: int, number: int, third: int = 0) -> int:
    """What a filter says to one call: a BPF machine with the four instructions that we use."""
    data = {0: number, 4: arch, 32: third}
    at = accumulator = 0
    while True:
        code, if_true, if_false, constant = program[at]
        at += 1
        match code:
            case 0x20:
                accumulator = data[constant]
            case 0x15:
                at += if_true if accumulator == constant else if_false
            case 0x45:
                at += if_true if accumulator & constant else if_false
            case 0x06:
                return constant


KILL, ALLOW = seccomp.RET_KILL_PROCESS, seccomp.RET_ALLOW


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_the_filter_allows_its_list_alone(machine: str) -> None:
    """On every machine, all of 4096 call numbers but the listed ones kill or are refused."""
    program = seccomp.allow_list(machine)
    column, arch = seccomp.MACHINES[machine]
    allowed = {numbers[column] for numbers in seccomp.ALLOWED.values()}
    refused = {numbers[column] for numbers in seccomp.REFUSED.values()}

    verdicts = {number: verdict(program, arch, number) for number in range(4_096)}

    assert {number for number, said in verdicts.items() if said == ALLOW} == allowed
    assert {number for number, said in verdicts.items() if said not in {ALLOW, KILL}} == refused


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_the_filter_refuses_executable_memory(machine: str) -> None:
    """Memory is mapped or re-protected only without PROT_EXEC."""
    program = seccomp.allow_list(machine)
    column, arch = seccomp.MACHINES[machine]
    for name in ("mmap", "mprotect"):
        number = seccomp.ALLOWED[name][column]

        assert [verdict(program, arch, number, prot) for prot in range(8)] == [ALLOW] * 4 + [
            KILL
        ] * 4


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_the_filter_refuses_other_call_tables(machine: str) -> None:
    """A call through another machine's table, or through x32's, kills."""
    program = seccomp.allow_list(machine)
    column, arch = seccomp.MACHINES[machine]
    read = seccomp.ALLOWED["read"][column]

    assert verdict(program, 0x4000_0003, read) == KILL  # AUDIT_ARCH_I386
    assert verdict(program, arch, read | 0x4000_0000) == KILL  # __X32_SYSCALL_BIT


HEADERS = (
    Path("/usr/include/asm-generic/unistd.h"),
    Path(f"/usr/include/{platform.machine()}-linux-gnu/asm/unistd_64.h"),
)


@pytest.mark.parametrize(("column", "header"), [(1, HEADERS[0]), (0, HEADERS[1])])
def test_call_numbers_are_the_kernels(column: int, header: Path) -> None:
    """Both tables agree with Linux's own headers, where they are installed."""
    if not header.exists():
        pytest.skip(f"{header.name} is not installed")
    defined = dict(
        line.split()[1:3]
        for line in header.read_text(encoding="ascii").splitlines()
        if line.startswith(("#define __NR_", "#define __NR3264_")) and len(line.split()) == 3
    )

    for name, numbers in (seccomp.ALLOWED | seccomp.REFUSED).items():
        number = defined.get(f"__NR3264_{name}", defined.get(f"__NR_{name}"))
        assert (name, number) == (name, str(numbers[column]))


def test_an_unknown_machine_has_no_table() -> None:
    """A machine without a table counts as one without seccomp; it is never guessed at."""
    with pytest.raises(KeyError):
        seccomp.allow_list("riscv64")
