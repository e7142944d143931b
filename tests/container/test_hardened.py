"""The container as compose.yaml starts it: what it may not do, and that it works all the same."""

import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import httpx
import pytest
from outside_world import ADDRESS, PORT, OutsideWorld
from stack import CLIP, IMAGE, KEY, MEASURED, Stack, transcribe, wait_for

from server.access.keys import new_key

URL = "http://127.0.0.1:9005"
COLD_START_SECONDS = 10.0
SAID = (
    "Good morning! This is a short test recording. The server turns speech into text, "
    "and nothing ever leaves your own machine."
)

PROCESSES = """
import json, pathlib
found = []
for status in pathlib.Path("/proc").glob("[0-9]*/status"):
    found.append(dict(line.split(":\\t", 1) for line in status.read_text().splitlines()))
print(json.dumps(found))
"""

WRITABLE = """
import os
kinds = {}
for line in open("/proc/self/mountinfo"):
    fields = line.split()
    kinds[fields[4]] = fields[fields.index("-") + 1]
def kind(path):
    while path not in kinds:
        path = os.path.dirname(path)
    return kinds[path]
found = set()
for top, folders, _ in os.walk("/"):
    if top in ("/proc", "/sys"):
        folders.clear()
        continue
    try:
        path = os.path.join(top, "probe")
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os.unlink(path)
        found.add((top, kind(top)))
    except OSError:
        pass
print(sorted(found))
"""

PROGRAMS = """
import os, shutil, subprocess, sys
for folder in ("/tmp", "/spool", "/dev/shm"):
    path = shutil.copy(shutil.which("sleep"), folder + "/program")
    os.chmod(path, 0o700)
    try:
        subprocess.run([path, "0"])
        print("ran in", folder)
    except PermissionError:
        pass
    os.unlink(path)
"""

REACH = f"""
import socket
def tried(what):
    try:
        what()
        return "yes"
    except OSError as error:
        return "no"
print(tried(lambda: socket.create_connection(("{ADDRESS}", {PORT}), timeout=3)),
      tried(lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("{ADDRESS}", {PORT}))))
"""

CALLS = """
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def refused(number, *arguments):
    ctypes.set_errno(0)
    return libc.syscall(number, *arguments) < 0 and ctypes.get_errno() == errno.EPERM
def no_socket(family):
    try:
        socket.socket(family, socket.SOCK_RAW if family == 16 else socket.SOCK_DGRAM).close()
    except PermissionError:
        return True
    return False
tried = {
    "ptrace": refused(101, 99999, 0, 0, 0),
    "process_vm_readv": refused(310, 0, 0, 0, 0, 0, 0),
    "personality": refused(135, 0xffffffff),
    "shmget": refused(29, 0, 0, 0),
    "msgget": refused(68, -1, 0),
    "mknod": refused(133, b"/nowhere/x", 0o010600, 0),
    "setuid": refused(105, os.getuid()),
    "io_setup": refused(206, 0, 0),
    "vmsplice": refused(278, -1, 0, 0, 0),
    "name_to_handle_at": refused(303, -1, b"", 0, 0, 0),
    "kcmp": refused(312, 0, 0, 99, 0, 0),
    "netlink": no_socket(16),
}
both = {
    "unshare": refused(272, 0x10000000),
    "mount": refused(165, 0, 0, 0, 0, 0),
    "bpf": refused(321, 0, 0, 0),
    "keyctl": refused(250, 0, 0, 0, 0, 0),
    "userfaultfd": refused(323, 0),
}
print(sorted(n for n, hit in tried.items() if hit), sorted(n for n, hit in both.items() if hit))
"""
KILL = """
import os, pathlib, signal
for line in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if line.parent.name != "1" and line.read_bytes().endswith(b"-m\\0server\\0"):
        os.kill(int(line.parent.name), signal.SIGKILL)
"""

MORE = {
    *("ptrace", "process_vm_readv", "personality", "shmget", "msgget", "mknod", "setuid"),
    *("io_setup", "vmsplice", "netlink", "name_to_handle_at", "kcmp"),
}


@pytest.fixture(scope="module")
def server(stack: Stack) -> Iterator[str]:
    """One server on a port of the tests' machine; its container's name."""
    with stack.up("compose.yaml", "compose.ports.yaml"):
        (name,) = stack.servers()
        yield name


def test_it_transcribes(stack: Stack, server: str) -> None:
    """Under the shipped seccomp profile, without a writable root."""
    with httpx.Client(base_url=URL, timeout=60) as client:
        response = transcribe(client)
    assert 200 == response.status_code, response.text
    assert "speech into text" in response.json()["text"]


def test_no_process_has_any_privilege(stack: Stack, server: str) -> None:
    """User, capabilities, no_new_privs and seccomp of every process in the container."""
    processes = json.loads(stack.python(server, PROCESSES))
    assert 4 <= len(processes)  # init, server, media process, this one
    for process in processes:
        assert {"10001"} == set(process["Uid"].split()) | set(process["Gid"].split())
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert 0 == int(process[name], 16)
        assert ("1", "2") == (process["NoNewPrivs"], process["Seccomp"])


def test_nothing_can_be_written_but_memory_and_the_volume(stack: Stack, server: str) -> None:
    """Each folder was tried; what can be written ends with the container, its volume aside."""
    found = dict(eval(stack.python(server, WRITABLE)))
    assert {"/tmp", "/spool", "/dev/shm", "/state"} <= set(found)
    memory = {kind for path, kind in found.items() if not f"{path}/".startswith("/state/")}
    assert {"tmpfs"} == memory - {"mqueue"}


def test_nothing_that_was_written_can_be_run(stack: Stack, server: str) -> None:
    """A dropped program stays a file."""
    assert "" == stack.python(server, PROGRAMS)


def test_seccomp_is_tighter_than_dockers(stack: Stack, server: str) -> None:
    """Calls that Docker's default lets through are refused, and what it refuses is, too."""
    ours, both = map(set, eval(stack.python(server, CALLS).replace("] [", "], [")))
    default = stack.engine.docker(
        *("run", "--rm", "--network=none", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
        *(IMAGE, "python", "-c", CALLS),
    ).stdout
    theirs, theirs_both = map(set, eval(default.strip().replace("] [", "], [")))
    assert MORE == ours
    assert both == theirs_both
    MEASURED["refused by our seccomp profile alone"] = ", ".join(sorted(ours - theirs))
    assert 8 <= len(ours - theirs)


def test_the_media_sandbox_is_at_full_strength(stack: Stack, server: str) -> None:
    """Each layer proven by a forbidden deed, in the container; the log does not complain."""
    script = "from server.audio.sandbox_proof import missing_layers; print(missing_layers())"
    assert "()" == stack.python(server, script)
    assert [] == [line for line in stack.logs(server) if line["event"] == "sandbox_incomplete"]


def test_it_reaches_nobody(stack: Stack, server: str, world: OutsideWorld) -> None:
    """Another container gets through to the world; the server's gets no connection."""
    before = world.visitors()
    assert (
        "yes yes" == stack.engine.docker("run", "--rm", IMAGE, "python", "-c", REACH).stdout.strip()
    )
    wait_for(lambda: world.visitors()["udp"] > before["udp"], "the world hears of it", 5)
    between = world.visitors()
    assert "no" == stack.python(server, REACH).split()[0]
    assert between["tcp"] == world.visitors()["tcp"]
    assert 1 == between["tcp"] - before["tcp"]


def test_its_health_is_its_readiness(stack: Stack, server: str) -> None:
    """The check passes while the server is ready, and fails where nobody answers."""
    check = ("python", "-I", "/app/ops/container/healthcheck.py")
    assert "ready" == stack.engine.docker("exec", server, *check).stdout.strip()
    wrong = stack.engine.docker("exec", "--env=SUSSURRO_PORT=1", server, *check, check=False)
    assert (1, "no answer: ConnectionRefusedError") == (wrong.returncode, wrong.stdout.strip())


def test_it_is_ready_within_ten_seconds(stack: Stack, server: str) -> None:
    """From the container's start to a warm model, measured by its own clock."""
    stack.engine.docker("restart", server)
    stack.wait_until_healthy(server)
    started = datetime.fromisoformat(stack.state(server)["StartedAt"][:26] + "+00:00")
    ready = [line for line in stack.logs(server) if line["event"] == "ready"][-1]
    seconds = (datetime.fromisoformat(ready["time"]) - started).total_seconds()
    MEASURED["cold start to ready"] = f"{seconds:.1f} s"
    assert 0 < seconds < COLD_START_SECONDS


def test_a_stop_lets_a_running_request_end(stack: Stack, server: str) -> None:
    """SIGTERM by `docker stop`: the answer arrives, exit code 0."""
    with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=URL, timeout=60) as client:
        answer = pool.submit(transcribe, client, mode="accurate")
        wait_for(lambda: [x for x in stack.logs(server) if x["event"] == "ready"] != [], "ready")
        time.sleep(0.3)
        stack.engine.docker("stop", "--time=50", server)
        assert 200 == answer.result().status_code
    assert 0 == stack.state(server)["ExitCode"]
    assert "draining" in [line["event"] for line in stack.logs(server)]
    stack.engine.docker("start", server)
    stack.wait_until_healthy(server)


def test_a_build_for_the_cpu_takes_effect(stack: Stack, server: str) -> None:
    """Made by the one-shot service, served after a restart, and gone again by one command."""

    def served() -> str:
        stack.engine.docker("restart", "--time=50", server)
        stack.wait_until_healthy(server)
        engine = httpx.get(f"{URL}/readyz").json()["engines"]["base"]
        assert "ctranslate2" == engine["engine"]
        return str(engine["build"])

    clips = stack.folder / "clips"
    clips.mkdir()
    shutil.copy(CLIP, clips)
    (clips / "clips.tsv").write_text(f"file\tlanguage\ttext\n{CLIP.name}\ten\t{SAID}\n")
    one_shot = (
        *("run", "--rm", "--no-deps", "--volume", f"{clips}:/clips:ro", "weights"),
        *("python", "-m", "ops", "engines"),
    )
    rebuild = ("rebuild", "base", "--clips", "/clips/clips.tsv", "--json")
    started = time.monotonic()
    built = json.loads(stack.compose(*one_shot, *rebuild))
    MEASURED["a rebuild in int8, gate included"] = f"{time.monotonic() - started:.0f} s"
    assert built["activated"]
    assert built["build"] == served()
    stack.compose(*one_shot, "rollback", "base")
    assert "weights" == served()


def test_usage_outlives_the_container(stack: Stack, server: str) -> None:
    """It is made anew, and what was counted is still there."""
    with httpx.Client(base_url=URL, timeout=60) as client:
        headers = {"Authorization": f"Bearer {KEY.key}"}
        assert 200 == transcribe(client).status_code
        before = client.get("/v1/usage", headers=headers).json()["data"]
        stack.compose("up", "--detach", "--no-build", "--pull", "never", "--force-recreate")
        stack.wait_until_healthy(server)
        assert before == client.get("/v1/usage", headers=headers).json()["data"]
    assert ["container"] == [row["name"] for row in before]


def test_a_crash_starts_it_again(stack: Stack, server: str) -> None:
    """The restart policy brings it back, and it answers."""
    before = stack.engine.inspect(server)["RestartCount"]
    stack.engine.docker("exec", server, "python", "-c", KILL, check=False)
    wait_for(lambda: stack.engine.inspect(server)["RestartCount"] > before, "it is restarted")
    stack.wait_until_healthy(server)
    with httpx.Client(base_url=URL, timeout=60) as client:
        assert 200 == transcribe(client).status_code


def test_keys_can_be_changed_without_a_pause_for_callers(stack: Stack, server: str) -> None:
    """Both keys work, then the new one alone; a container is made anew each time."""
    other = new_key("container-b")
    codes = []
    for records in (f"{KEY.record} {other.record}", other.record, KEY.record):
        stack.configure(records)
        stack.compose("up", "--detach", "--no-build", "--pull", "never")
        stack.wait_until_healthy(server)
        with httpx.Client(base_url=URL, timeout=60) as client:
            codes.append([transcribe(client, key).status_code for key in (KEY.key, other.key)])
    assert [[200, 200], [401, 200], [200, 401]] == codes
