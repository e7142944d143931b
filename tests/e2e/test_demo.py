"""`ops demo` and `ops serve` as a person starts them: real weights, real server."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.client import Client
from ops.process import _port_in

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "ops" / "samples"

pytestmark = pytest.mark.model


def environ(weights_dir: Path, **settings: str) -> dict[str, str]:
    """The environment of somebody who has set little."""
    ours = {"PYTHONPATH": str(ROOT), "SUSSURRO_WEIGHTS_DIR": str(weights_dir)}
    return os.environ | ours | settings


def demo(weights_dir: Path, *files: object, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `ops demo`."""
    return subprocess.run(
        [sys.executable, "-m", "ops", "demo", *map(str, files)],
        env=environ(weights_dir, **settings),
        capture_output=True,
        text=True,
        check=False,
    )


def words_of(text: str) -> list[str]:
    """Lower-case words."""
    return re.findall(r"\w+", text.lower())


def test_the_demo_writes_down_both_samples(weights_dir: Path) -> None:
    """Text word for word as in the samples' README, then subtitles, then the speed."""
    done = demo(weights_dir)
    assert 0 == done.returncode, done.stderr
    readme = (SAMPLES / "README.md").read_text(encoding="utf-8")
    spoken = re.findall(r"^\| `(\w+\.ogg)` \|.*\| (.+) \|$", readme, re.MULTILINE)
    assert 2 == len(spoken)
    for name, text in spoken:
        part = done.stdout.partition(f"\n{name}\n\n")[2]
        assert words_of(text) == words_of(part.partition("\n")[0])
    for shown in (r"1\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\n", r"\d\.\d s of \w+ in .*: real-time"):
        assert 2 == len(re.findall(f"^{shown}", done.stdout, re.MULTILINE))


def test_any_file_name_will_do(weights_dir: Path, tmp_path: Path) -> None:
    """Spaces, quotes, umlauts; settings that would send it elsewhere are overruled. As JSON."""
    file = tmp_path / 'Übung "eins".ogg'
    shutil.copy(SAMPLES / "english.ogg", file)
    settings = {"SUSSURRO_HOST": "192.0.2.1", "SUSSURRO_LOG_LEVEL": "error"}
    done = demo(weights_dir, file, "--json", **settings)
    assert 0 == done.returncode, done.stderr
    told = json.loads(done.stdout)
    assert str(file) == told["file"]
    assert "short test recording" in told["answer"]["text"]


def test_a_file_without_sound_is_refused_in_plain_words(weights_dir: Path, tmp_path: Path) -> None:
    """The server's own message, no log, exit code 1."""
    file = tmp_path / "letter.txt"
    file.write_text("Dear server")
    done = demo(weights_dir, file)
    assert 1 == done.returncode
    assert "Error: the server answered 400" in done.stderr
    assert "last lines" not in done.stderr


def test_a_server_that_cannot_start_is_quoted(weights_dir: Path) -> None:
    """Its last lines are shown, exit code 1."""
    done = demo(weights_dir, SUSSURRO_SPOOL_DIR="/nowhere/at/all")
    assert 1 == done.returncode
    assert "The server's last lines:" in done.stderr


SERVE = """
import pathlib, sys
import ops.serve
ops.serve.RECORDS = pathlib.Path(sys.argv.pop())
ops.serve.serve()
"""


@contextmanager
def serving(weights_dir: Path, records: Path) -> Iterator[tuple[str, str]]:
    """`ops serve` on a free port with its state elsewhere: its URL and what it printed first."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(records)],
        env=environ(weights_dir, SUSSURRO_PORT="0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    printed = []
    try:
        for line in process.stdout or ():
            printed.append(line)
            if '"ready"' in line:
                break
        port = max(map(_port_in, printed), default=0)
        yield f"http://127.0.0.1:{port}", "".join(printed)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_serve_prints_a_working_key_once(weights_dir: Path, tmp_path: Path) -> None:
    """The first start prints it, the second does not, and it works with both."""
    records = tmp_path / "state" / "api_keys"
    with serving(weights_dir, records) as (url, printed):
        key = re.findall(r"^    (wsk_local_\w+)$", printed, re.MULTILINE)[0]
        answer = Client(url, key).transcribe(SAMPLES / "english.ogg", "text").text
    with serving(weights_dir, records) as (url, printed):
        again = Client(url, key).transcribe(SAMPLES / "english.ogg", "text").text
    assert "wsk_local" not in printed
    assert "short test recording" in answer
    assert answer == again
