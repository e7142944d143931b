"""`ops transcribe` as a person runs it: a real server, real interruptions."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from server_process import KEY, ROOT, Process, Start, noise

RECORDINGS = 50


def command(*arguments: object, **environ: str) -> subprocess.Popen[str]:
    """The command, started with a good key."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "ops", "transcribe", *map(str, arguments)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": KEY.key}
        | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def transcribe(*arguments: object, **environ: str) -> tuple[int, str, str]:
    """Run it to its end: exit code, standard output, standard error."""
    process = command(*arguments, **environ)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def recordings(folder: Path, count: int) -> Path:
    """A folder of short ones, some in folders of their own."""
    clip = noise(0.2)
    for number in range(count):
        file = folder / f"day {number % 3}" / f"{number}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(clip)
    return folder


def answered(server: Process) -> int:
    """Transcriptions in the log that were answered."""
    return sum(line["status"] == 200 for line in server.lines("request"))


def wait_for(true: Callable[[], bool]) -> None:
    """Until it is so."""
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def results(folder: Path) -> dict[Path, int]:
    """Finished transcripts, and when each was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.txt")}


def test_an_interrupted_folder_is_gone_on_with(start: Start, tmp_path: Path) -> None:
    """After Ctrl-C, then kill -9: nothing that was finished is sent again, and all is whole."""
    server = start(FAKE_WINDOW_SECONDS="0.02").ready()
    folder = recordings(tmp_path / "in", RECORDINGS)
    for with_signal, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        before = results(folder)
        process = command(folder, "--url", server.url)
        wait_for(lambda before=before: len(results(folder)) >= len(before) + 12)
        process.send_signal(with_signal)
        assert code == process.wait(20)
        process.communicate()
    before = results(folder)
    assert 24 <= len(before) < RECORDINGS
    time.sleep(0.3)  # what was under way has left its line
    asked = answered(server)

    code, out, err = transcribe(folder, "--url", server.url)
    after = results(folder)

    left = RECORDINGS - len(before)
    assert (0, left) == (code, len(out.splitlines())), err
    assert f"{left} done, {len(before)} there already, 0 failed." == err.strip()
    assert [200] * (asked + left) == [s for s in server.statuses(asked + left) if s == 200]
    assert before.items() <= after.items()
    assert ["Bom dia.\n"] * RECORDINGS == [path.read_text() for path in after]


def test_every_format_comes_of_one_transcription(start: Start, tmp_path: Path) -> None:
    """Below another folder; once there, nothing is sent again. The key may lie in a file."""
    server = start().ready()
    (tmp_path / "key").write_text(f"{KEY.key}\n")
    folder = recordings(tmp_path / "in", 1)
    formats = [word for name in ("text", "srt", "vtt", "verbose_json") for word in ("-f", name)]
    arguments = (folder, "--output-dir", tmp_path / "out", "--url", server.url + "/v1", "--json")
    arguments += ("--key-file", tmp_path / "key")
    code, out, err = transcribe(*arguments, *formats, OPENAI_API_KEY="")
    assert (0, "done") == (code, json.loads(out)["state"]), err
    assert {".txt", ".srt", ".vtt", ".json"} == {
        path.suffix for path in (tmp_path / "out" / "day 0").iterdir()
    }
    assert "Bom dia.\n\n" == (tmp_path / "out/day 0/0.srt").read_text().partition("\n")[2][-10:]

    code, out, _ = transcribe(*arguments, *formats)
    assert (0, "there") == (code, json.loads(out)["state"])
    assert 1 == len(server.statuses(1))


def test_a_full_server_is_waited_for(start: Start, tmp_path: Path) -> None:
    """Two at once at a server with one place: both come through."""
    server = start(
        SUSSURRO_MAX_REQUESTS="1", SUSSURRO_MAX_QUEUE_WAIT="0", FAKE_WINDOW_SECONDS="0.3"
    ).ready()
    folder = recordings(tmp_path / "in", 2)
    code, _, err = transcribe(folder, "--url", server.url)

    assert 0 == code, err
    assert 2 == answered(server)
    assert {200, 503} == {line["status"] for line in server.lines("request")}


def rows(out: str) -> dict[str, dict[str, Any]]:
    """Lines of JSON by the name of the recording."""
    return {Path(row["file"]).name: row for row in map(json.loads, out.splitlines())}


def test_failures_are_listed_and_the_rest_is_done(start: Start, tmp_path: Path) -> None:
    """One that is no recording: exit code 1, the server's own words, no result of it."""
    server = start().ready()
    folder = recordings(tmp_path / "in", 2)
    (folder / "letter.mp3").write_text("Dear server")
    code, out, err = transcribe(folder, "--url", server.url, "--json", "--max-retries", 0)

    assert 1 == code
    assert "2 done, 0 there already, 1 failed:" in err
    assert f"{folder / 'letter.mp3'}: the server answered 400: " in err
    assert {"0.wav": "done", "1.wav": "done", "letter.mp3": "failed"} == {
        name: row["state"] for name, row in rows(out).items()
    }
    assert 2 == len(results(folder))


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"OPENAI_API_KEY": "wsk_no_key"}, "answered 401"),
        ({"OPENAI_BASE_URL": ""}, "no connection"),
    ],
)
def test_what_fails_for_all_is_tried_once(
    start: Start, tmp_path: Path, environ: dict[str, str], message: str
) -> None:
    """A wrong key, or nobody there: the others are not sent."""
    server = start().ready()
    if "OPENAI_BASE_URL" in environ:
        environ, url = {}, "http://127.0.0.1:9"
    else:
        url = server.url
    folder = recordings(tmp_path / "in", 5)
    code, _, err = transcribe(folder, "--url", url, "--parallel", 1, "--max-retries", 1, **environ)

    assert 1 == code
    assert message in err
    assert 4 == err.count("not sent:")
