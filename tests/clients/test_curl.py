"""curl against the real server process: every format, events, odd uploads, retries, timeouts."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import KEY, Process, Start, launcher, noise

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

WAV = noise(1.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One server for all tests of this file."""
    with launcher(tmp_path_factory.mktemp("server")) as launch:
        yield launch(SUSSURRO_MAX_UPLOAD_BYTES="1000000").ready()


def curl(server: Process, *arguments: str, data: bytes = WAV) -> tuple[int, str, str]:
    """(exit code, what it prints, the status); `-F file=@-` takes the data from a pipe."""
    command = [
        "curl",
        "-sS",
        "-w",
        "%{stderr}%{http_code}",
        f"{server.url}/v1/audio/transcriptions",
    ]
    command += ["-H", f"Authorization: Bearer {KEY.key}", "-F", "model=whisper-1"]
    done = subprocess.run(
        [*command, *arguments],
        input=data,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()[-3:]


@pytest.mark.parametrize(
    ("response_format", "start"),
    [
        ("json", '{"text":"Bom dia.'),
        ("text", "Bom dia."),
        ("srt", "1\n00:00:00,"),
        ("vtt", "WEBVTT\n\n00:00:00."),
        ("verbose_json", '{"task":"transcribe"'),
    ],
)
def test_every_format(server: Process, response_format: str, start: str) -> None:
    """As it is, ready for a file."""
    code, body, status = curl(server, "-F", "file=@-", "-F", f"response_format={response_format}")

    assert (0, "200") == (code, status)
    assert body.startswith(start)


def test_events(server: Process) -> None:
    """With -N they come line by line."""
    code, body, _ = curl(server, "-N", "-F", "file=@-", "-F", "stream=true")
    events = [json.loads(line[6:]) for line in body.splitlines() if line]

    assert (0, "transcript.text.done") == (code, events[-1]["type"])


@pytest.mark.parametrize(
    "how",
    [
        ["-F", "file=@-"],
        ["-F", "file=@-", "-H", "Transfer-Encoding: chunked"],
        ["-F", "file=@-;filename=Gespräch 会議.oga;type=text/plain"],
        ["-F", "file=@-", "-H", "Expect: 100-continue"],
        ["-F", "file=@-", "--http1.1", "-H", "Expect:"],
    ],
    ids=["no name, no type", "chunked", "odd name and type", "expect", "no expect"],
)
def test_every_way_to_upload(server: Process, how: list[str]) -> None:
    """A file is a file, whatever stands around it."""
    assert (0, "200") == curl(server, *how)[::2]


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [(b"", "400", "invalid_audio"), (bytes(60_000_000), "413", "upload_too_large")],
    ids=["0 bytes", "60 MB"],
)
def test_a_file_that_is_refused(server: Process, data: bytes, status: str, code: str) -> None:
    """The error's body is printed; `--fail-with-body` makes it exit code 22."""
    exit_code, body, seen = curl(server, "--fail-with-body", "-F", "file=@-", data=data)

    assert (22, status, code) == (exit_code, seen, json.loads(body)["error"]["code"])


def test_its_own_timeout_cancels(start: Start) -> None:
    """Exit code 28, and the server forgets the request."""
    server = start(FAKE_WINDOW_SECONDS="2").ready()
    assert 28 == curl(server, "-m", "1", "-F", "file=@-")[0]

    assert [499] == server.statuses(1)


def test_retry_heeds_retry_after(start: Start, tmp_path: Path) -> None:
    """`--retry` comes back in its own time, until the models are there."""
    server = start(FAKE_LOAD_SECONDS="3")
    server.line("listening")
    file = tmp_path / "n.wav"
    file.write_bytes(WAV)
    started = time.monotonic()
    code, _, status = curl(server, "--retry", "3", "-F", f"file=@{file}")

    assert (0, "200") == (code, status)
    assert [503, 200] == server.statuses(2)
    assert time.monotonic() - started >= 10  # models are loading: Retry-After is 10
