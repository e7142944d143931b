"""`ops engines` from a rebuild to a server that serves it: real weights, conversion and gate."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_process import ROOT, Process, Start

from engine_build.work import remove

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

CHUVA = ROOT / "tests/audio/pt-chuva.ogg"
SAID = "Depois de três semanas, a chuva parou e as crianças correram até o rio."
TABLE = f"file\tlanguage\ttext\n{CHUVA.name}\tpt\t{SAID}\n"


class Operator:
    """Somebody with a terminal, a folder of engines and one reference clip."""

    def __init__(self, weights_dir: Path, folder: Path) -> None:
        self.engines = folder / "engines"
        self.clips = folder / "clips.tsv"
        self.clips.write_text(TABLE)
        (folder / CHUVA.name).symlink_to(CHUVA)
        self.settings = {
            "SUSSURRO_WEIGHTS_DIR": str(weights_dir),
            "SUSSURRO_ENGINES_DIR": str(self.engines),
        }

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        """A command that runs."""
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "ops", "engines", *arguments],
            cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": "/nowhere", **self.settings},
        )  # fmt: skip

    def run(self, *arguments: str, status: int = 0) -> tuple[Any, str]:
        """A command that ends: what it prints as JSON, and what it tells beside."""
        out, err = (process := self.begin(*arguments)).communicate(timeout=120)
        assert status == process.returncode, err
        return json.loads(out) if out else None, err

    def rebuild(self, *, status: int = 0) -> tuple[Any, str]:
        """A whole rebuild."""
        return self.run(*self.rebuilding, status=status)

    @property
    def rebuilding(self) -> list[str]:
        """The command."""
        return [
            "rebuild", "base", "--engine", "ctranslate2", "--clips", str(self.clips), "--json",
        ]  # fmt: skip

    @property
    def folder(self) -> Path:
        """Where the model's builds are."""
        return self.engines / "ctranslate2" / "base"

    def builds(self) -> Any:
        """What the list says."""
        return self.run("list", "--json")[0]

    def killed(self) -> Path:
        """A rebuild that is killed while it judges; the model that it had finished."""
        process = self.begin(*self.rebuilding)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("judging"):
                break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        (finished,) = self.folder.glob(".base.*/model/model.bin")
        return finished


@pytest.fixture(scope="module")
def operator(weights_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """One for all: what the tests find was left by those before them, as in life."""
    folder = tmp_path_factory.mktemp("operator")
    yield Operator(weights_dir, folder)
    remove(folder / "engines")


def serving(start: Start, operator: Operator) -> Process:
    return start("-m", "server", **operator.settings)


def test_a_build_from_the_first_try_to_the_last_resort(start: Start, operator: Operator) -> None:
    """Refused, spoilt, killed, resumed, serving, corrupted, rolled back: never half of anything."""
    two_at_once(operator)
    a_spoilt_disk(operator)
    build = killed_and_resumed(operator)
    a_server_takes_it(serving(start, operator), build)
    one_byte_is_wrong(operator, build)
    refused = serving(start, operator)
    assert 78 == refused.exit_code()
    assert "ops engines rollback base" in refused.stderr
    back_in_one_command(operator, build)
    server = serving(start, operator).ready()
    with server.client() as client:
        assert "weights" == client.get("/readyz").json()["engines"]["base"]["build"]
    assert 0 == server.stop()


def two_at_once(operator: Operator) -> None:
    """The second rebuild is refused; the first one is killed at once, and leaves nothing."""
    process = operator.begin(*operator.rebuilding)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("hashing")
    _, told = operator.rebuild(status=1)
    assert "another rebuild runs" in told
    process.kill()
    process.communicate()
    assert [] == operator.builds()


def a_spoilt_disk(operator: Operator) -> None:
    """What was finished before a kill is damaged: the gate sees it, and nothing is published."""
    finished = operator.killed()
    with finished.open("r+b") as file:
        file.seek(2 << 20)  # within the tokens' embeddings, which come first
        file.write(bytes(16 << 20))
    _, told = operator.rebuild(status=1)
    assert "model: finished by an earlier run" in told
    assert "word error rate" in told or "log-probabilities" in told
    assert [] == operator.builds()
    assert [] == list(operator.folder.glob(".base.*"))


def killed_and_resumed(operator: Operator) -> str:
    """The next rebuild does not convert again; its build, which is active."""
    operator.killed()
    built, told = operator.rebuild()
    assert "model: finished by an earlier run" in told
    assert "clip 1 of 1" in told
    assert (True, True) == (built["activated"], built["gate"]["max_logprob_difference"] < 0.03)
    (row,) = operator.builds()
    assert (built["build"], True, "int8") == (row["build"], row["active"], row["kind"])
    assert row["bytes"] < 80_000_000
    return str(built["build"])


def a_server_takes_it(server: Process, build: str) -> None:
    """It says so, and transcribes."""
    server.ready()
    with server.client() as client, CHUVA.open("rb") as file:
        engine = client.get("/readyz").json()["engines"]["base"]
        answer = client.post("/v1/audio/transcriptions", files={"file": file})
    told = server.line("engine_chosen")
    for said in (engine, told):
        assert ("ctranslate2", build) == (said["engine"], said["build"])
        assert "no GPU" == said["why"]
    assert "no NVIDIA driver" in told["detail"]
    assert "as crianças correram até o rio" in answer.json()["text"]
    assert 0 == server.stop()


def one_byte_is_wrong(operator: Operator, build: str) -> None:
    """It is found."""
    model = operator.folder / build / "model.bin"
    model.chmod(0o644)
    with model.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    model.chmod(0o444)
    (row,) = operator.run("verify", "--json", status=1)[0]
    assert "model.bin is not the file that was built" in row["problem"]


def back_in_one_command(operator: Operator, build: str) -> None:
    """To the weights; and what is damaged cannot be activated again."""
    rollback = ("rollback", "base", "--engine", "ctranslate2", "--json")
    assert "weights" == operator.run(*rollback)[0]["active"]
    _, told = operator.run("activate", "base", build, "--json", status=1)
    assert "model.bin is not the file that was built" in told


def test_who_insists_on_a_gpu_gets_no_server_without_one(start: Start, operator: Operator) -> None:
    """At once, with exit code 78: starting again would not help."""
    started = time.monotonic()
    server = start("-m", "server", **operator.settings, SUSSURRO_ENGINE="tensorrt_llm")
    assert 78 == server.exit_code()
    assert time.monotonic() - started < 30
    assert "SUSSURRO_ENGINE is tensorrt_llm, but for base there is no" in server.stderr
