"""A hijacked decoder behind a real server: what it can do to the machine, the server, a caller."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_process import Process, launcher, noise

SERVER = str(Path(__file__).with_name("hostile_server.py"))
URL = "/v1/audio/transcriptions"
LOAD_SECONDS = 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One server for all deeds: none of them may harm the next caller."""
    settings = {
        "SUSSURRO_SANDBOX": "required",
        "SUSSURRO_LOAD_TIMEOUT": str(LOAD_SECONDS),
        "SUSSURRO_MAX_AUDIO_SECONDS": "60",
    }
    with launcher(tmp_path_factory.mktemp("server")) as launch:
        yield launch(SERVER, **settings).ready()


def send(server: Process, deed: str) -> httpx.Response:
    """Have the decoder do it."""
    with server.client() as client:
        return client.post(URL, files={"file": ("a.wav", f"#deed\n{deed}\n")})


def end_of(server: Process, deed: str) -> tuple[int, str]:
    """Status and the log's reason; then an honest recording is transcribed by the same process."""
    media_process = children(server.popen.pid)
    answer = send(server, deed)
    error: dict[str, Any] = answer.json()["error"]
    request_id = answer.headers["x-request-id"]
    assert server.has_logged(request_id)
    (line,) = [x for x in server.lines("request") if x["request_id"] == request_id]

    assert {"message", "type", "param", "code"} == set(error)
    assert "deed" not in error["message"]
    with server.client() as client:
        honest = client.post(URL, files={"file": ("a.wav", noise(1.0))}, data={"language": "pt"})
    assert (200, "Bom dia.") == (honest.status_code, honest.json()["text"])
    assert media_process == children(server.popen.pid)
    assert [] == children(media_process[0])
    assert "" == server.stderr
    return answer.status_code, line["reason"]


def children(pid: int) -> list[int]:
    """The processes that a process has started, zombies included."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


KILLED = {
    "a socket": "socket.socket()",
    "a local socket": "socket.socketpair()",
    "a process": "os.fork()",
    "a thread": "threading.Thread(target=print).start()",
    "a program": "os.execv('/bin/true', ['true'])",
    "a shell": "subprocess.run(['sh', '-c', 'id'])",
    "ptrace its parent": "libc.ptrace(16, os.getppid(), 0, 0)",
    "read its parent's memory": "libc.process_vm_readv(os.getppid(), 0, 0, 0, 0, 0)",
    "signal its parent": "os.kill(os.getppid(), signal.SIGKILL)",
    "signal everybody": "os.kill(-1, signal.SIGKILL)",
    "live on without its parent": "os.setsid()",
    "raise its limits": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "executable memory": "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
    "put the alarm off": "signal.alarm(0)",
    "ignore the alarm": "signal.signal(signal.SIGALRM, signal.SIG_IGN)",
    "pass a descriptor on": "socket.socket(fileno=upload)",
    "cut its output short": "os.ftruncate(pcm, 0)",
}


@pytest.mark.parametrize("deed", KILLED.values(), ids=KILLED)
def test_what_no_decoder_needs_ends_it(server: Process, deed: str) -> None:
    """By the kernel, at once; the caller hears that its file cannot be decoded."""
    assert (400, "sandbox_violation") == end_of(server, deed)


OTHERS = {
    "open a file": ("os.open('/etc/passwd', os.O_RDONLY)", 500, "decoder_fault"),
    "write a file": ("os.open('/tmp/x', os.O_CREAT | os.O_WRONLY)", 500, "decoder_fault"),
    "open its memory": ("os.open('/proc/self/mem', os.O_RDWR)", 500, "decoder_fault"),
    "change the upload": ("os.write(upload, b'x')", 500, "decoder_fault"),
    "take all memory": ("x = []\nwhile True: x.append(bytearray(1 << 20))", 400, "out_of_memory"),
    "compute for ever": ("while True: pass", 400, "too_slow"),
    "sleep for ever": ("x = threading.Lock(); x.acquire(); x.acquire()", 400, "too_slow"),
    "recurse for ever": (
        "import sys; sys.setrecursionlimit(1 << 30)\ndef f(): f()\nf()",
        400,
        "too_slow",
    ),
    "crash": ("ctypes.string_at(8)", 400, "decoder_crashed"),
    "flood the output": ("while True: os.write(pcm, bytes(1 << 16))", 500, "decoder_fault"),
    "half a sample": ("os.write(pcm, b'x')", 500, "bad_output"),
    "leave silently": ("os._exit(0)", 500, "decoder_fault"),
    "leave with a code": ("os._exit(99)", 500, "decoder_fault"),
    "raise what nobody knows": ("raise KeyError('secret')", 500, "decoder_fault"),
    "close everything": ("for fd in range(9): os.close(fd)", 500, "decoder_fault"),
}


@pytest.mark.parametrize(("deed", "status", "reason"), OTHERS.values(), ids=OTHERS)
def test_what_else_it_tries_stays_with_it(
    server: Process, deed: str, status: int, reason: str
) -> None:
    """A clear end, in bounded time."""
    started = time.monotonic()
    assert (status, reason) == end_of(server, deed)
    assert time.monotonic() - started < LOAD_SECONDS + 8


WRITE_TO_ALL = """
for fd in range(64):
    with contextlib.suppress(OSError):
        os.write(fd, {data})
"""


@pytest.mark.parametrize(
    "data",
    ["b'evil'", "b'\\n' * 4000", "b'{\"warnings\": []}'", 'b\'{"reason": "../../x"}\'', "b'['*900"],
)
def test_it_can_write_to_nobody(server: Process, data: str) -> None:
    """Every descriptor that it has is tried: no log, no other process, no answer is reached."""
    before = len(server.stdout)
    status, reason = end_of(server, WRITE_TO_ALL.format(data=data))

    assert (500, True) == (status, reason in {"decoder_fault", "bad_output"})
    assert all(json.loads(line) for line in server.stdout[before:].splitlines())


def test_it_cannot_flood_the_log(server: Process) -> None:
    """Its standard error leads nowhere."""
    assert (400, "too_slow") == end_of(server, "while True: os.write(2, b'x' * 4096)")


def test_a_report_is_not_read_for_ever(server: Process) -> None:
    """Whatever it has found to report on, the pipe takes so much and no more."""
    flood = WRITE_TO_ALL.replace("range(64)", "range(3, 64)").format(data="b'x' * (1 << 22)")

    assert end_of(server, flood)[0] in {400, 500}
