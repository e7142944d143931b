"""What other processes can see of the server, and what its words give away."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import KEY, ROOT, Process, Start, launcher, noise

from server.access.keys import new_key
from server.settings import Settings

PEPPER = "mark-of-the-pepper"
PEPPERED = new_key("peppered", pepper=PEPPER)
URL = "/v1/audio/transcriptions"

SPY = """
import ctypes, os, sys
from server.secrecy import keep_secrets
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # a change of user has the same effect
if {hardened}:
    keep_secrets(["MARK"])
assert os.environ["MARK"] == "secret"
victim = os.getpid()
own = os.open("/proc/self/fd/0", os.O_RDONLY)  # the loader opens uploads anew
if os.fork() == 0:
    for name in ("environ", "mem", "maps", "auxv"):
        try:
            open(f"/proc/{{victim}}/{{name}}", "rb").close()
            print(name)
        except PermissionError:
            pass
    sys.stdout.flush()
    os.execv("/usr/bin/env", ["env"])
else:
    os.wait()
"""


@pytest.mark.parametrize(("hardened", "seen"), [(False, True), (True, False)])
def test_another_process_of_the_same_user_sees_nothing(hardened: bool, seen: bool) -> None:
    """Neither memory nor environment, nor do children inherit it; without the call it does."""
    done = subprocess.run(
        [sys.executable, "-c", SPY.format(hardened=hardened)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MARK": "secret"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )

    lines = done.stdout.splitlines()
    assert seen == bool({"environ", "mem", "maps", "auxv"} & set(lines))
    assert seen == ("MARK=secret" in lines)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server whose settings hold a secret."""
    records = f"{KEY.record} {PEPPERED.record}"
    with launcher(tmp_path_factory.mktemp("server")) as launch:
        yield launch(
            SUSSURRO_API_KEYS=records, SUSSURRO_KEY_PEPPER=PEPPER, SUSSURRO_LOG_LEVEL="debug"
        ).ready()


def test_no_secret_stands_in_the_process_table(server: Process) -> None:
    """Neither on the command line nor, even for root, in the environment, of any process."""
    secrets = (PEPPER, KEY.record.split(":")[2])
    children = Path(f"/proc/{server.popen.pid}/task/{server.popen.pid}/children").read_text()
    for pid in (server.popen.pid, *map(int, children.split())):
        shown = Path(f"/proc/{pid}/cmdline").read_bytes()
        with contextlib.suppress(PermissionError):  # who may not read it at all sees none
            shown += Path(f"/proc/{pid}/environ").read_bytes()
        assert not any(secret.encode() in shown for secret in secrets)
        assert b"python" in shown


def test_keys_are_reloaded_all_the_same(server: Process) -> None:
    """The server's own copy is whole: SIGHUP reads the same keys and the same pepper again."""
    server.popen.send_signal(signal.SIGHUP)
    assert 2 == server.line("keys_reloaded")["keys"]
    with server.client() as client:
        for key in (KEY, PEPPERED):
            client.headers["Authorization"] = f"Bearer {key.key}"
            assert 200 == client.get("/v1/models").status_code


def test_nothing_that_a_caller_sends_is_logged_or_told(server: Process) -> None:
    """Marks in every place of requests that go well and that fail, at the most talkative level."""
    wav = noise(1.0)
    good, bad = f"Bearer {KEY.key}", "Bearer wsk_e2e_mark-of-a-bad-key"
    headers = {"X-Mark": "mark-1", "User-Agent": "mark-2", "Referer": "http://mark-3/"}
    query = "?api_key=mark-4&access_token=mark-5"
    fields = {"prompt": "mark-6", "language": "pt", "hotwords": "mark-7", "user": "mark-8"}
    with server.client() as client:
        client.headers.update(headers)
        for authorization in (good, bad):
            client.headers["Authorization"] = authorization
            for name, content in (("mark-9.wav", wav), ("mark-a.wav", b"mark-b" * 99), ("c", b"")):
                for data in (fields, fields | {"response_format": "mark-d"}, {"mark-e": "mark-f"}):
                    files = {"file": (name, content)}
                    answer = client.post(URL + query, files=files, data=data)
                    told = answer.text.replace("mark-d", "", 1)  # «… is not allowed» may name it
                    assert "mark-" not in told + str(answer.headers)
            for path in ("/mark-path", "/v1/models/mark-model"):
                assert "mark-" not in str(client.get(path + query).headers)
        client.headers["api-key"] = "mark-azure"
        client.headers["Authorization"] = "Basic mark-basic"
        client.get("/v1/models")
        client.request("BREW-mark", "/v1/models")
    server.statuses(22)
    written = server.stdout + server.stderr

    assert "mark-" not in written
    assert "Bom dia" not in written
    assert KEY.key not in written
    assert KEY.key.split("_")[2] not in written


def test_settings_do_not_show_their_secrets() -> None:
    """Neither `repr` nor `str` nor a traceback's line of arguments."""
    settings = Settings.from_env(
        {
            "SUSSURRO_KEY_PEPPER": PEPPER,
            "SUSSURRO_REDIS_URL": "redis://:mark-redis@127.0.0.1/0",
            "SUSSURRO_API_KEYS": KEY.record,
        }
    )

    for text in (repr(settings), str(settings), f"{settings.redis_url}{settings.key_pepper!r}"):
        assert not any(mark in text for mark in (PEPPER, "mark-redis", KEY.record))


@pytest.mark.parametrize(
    "name", ["API_KEYS", "TOKEN_KEYS", "DENIED_TOKENS", "REDIS_URL", "PORT", "TRUSTED_PROXIES"]
)
def test_a_wrong_setting_is_not_repeated(start: Start, name: str) -> None:
    """The start is refused in words that name the setting, not its value."""
    environ = {"SUSSURRO_API_KEYS": KEY.record, f"SUSSURRO_{name}": "redis://:mark-1@[mark-2 :x:"}
    server = start(**environ)

    assert 0 != server.exit_code()
    assert "mark-" not in server.stderr + server.stdout


DUMP = """
import os, resource, sys
from server.secrecy import keep_secrets
resource.setrlimit(resource.RLIMIT_CORE, (1 << 26, 1 << 26))
os.chdir({folder!r})
if {hardened}:
    keep_secrets([])
os.abort()
"""


def test_a_crash_leaves_no_core(tmp_path: Path) -> None:
    """A process that aborts writes none; without the call it does, where the system is set so."""
    cores = []
    for hardened in (False, True):
        process = subprocess.Popen(
            [sys.executable, "-c", DUMP.format(folder=str(tmp_path), hardened=hardened)], cwd=ROOT
        )
        _, status = os.waitpid(process.pid, 0)
        process.returncode = status
        assert os.WTERMSIG(status) == signal.SIGABRT
        cores.append(os.WCOREDUMP(status))

    assert not cores[1]
    if Path("/proc/sys/kernel/core_pattern").read_text().strip() == "core":
        assert cores[0]


def test_the_server_may_write_no_core(server: Process) -> None:
    """Nor may its media process, which it has started since."""
    children = Path(f"/proc/{server.popen.pid}/task/{server.popen.pid}/children").read_text()
    for pid in (server.popen.pid, *map(int, children.split())):
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        (line,) = [line.split() for line in limits if line.startswith("Max core file size")]
        assert ["0", "0"] == line[4:6]
