"""`ops engines` at a terminal: what is shown, as text and as JSON, and its exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine_build import manifest as writing
from engine_build.errors import GateError
from ops.__main__ import main
from ops.engines import command
from ops.engines.builds import Builds
from server.engines.converted import ADAPTER, ConvertedManifest
from server.engines.manifest import GateResult

GATE = GateResult(6, 0.01, 0.01, 0.017, 0.0)
NAMES = ("20261125T100000Z-int8", "20261125T110000Z-int8")


@pytest.fixture
def builds(tmp_path: Path) -> Builds:
    """Two builds of a few bytes, the second one active."""
    found = Builds(tmp_path / "engines", "ctranslate2", "base")
    for name in NAMES:
        folder = found.folder / name
        folder.mkdir(parents=True)
        (folder / "model.bin").write_bytes(name.encode())
        made = ConvertedManifest(
            format=1,
            engine="ctranslate2",
            model="base",
            created="2026-11-25T10:00:00+00:00",
            quantization="int8",
            versions={"ctranslate2": "4.8.1"},
            weights_sha256="ab" * 32,
            files=writing.built_files(folder),
            gate=GATE,
        )
        writing.save(folder, ADAPTER.dump_python(made, mode="json"))
        writing.protect(folder)
        found.activate(name)
    return found


@pytest.fixture
def run(builds: Builds, tmp_path: Path) -> Callable[..., Result]:
    """A command on that folder."""
    environ = {
        "SUSSURRO_ENGINES_DIR": str(builds.folder.parents[1]),
        "SUSSURRO_WEIGHTS_DIR": str(tmp_path / "weights"),
    }

    def invoke(*arguments: str, status: int = 0) -> Result:
        done = CliRunner().invoke(main, ["engines", *arguments], env=environ)
        assert status == done.exit_code, done.output
        return done

    return invoke


def spoil(builds: Builds, name: str) -> None:
    model = builds.folder / name / "model.bin"
    model.chmod(0o644)
    model.write_bytes(b"x" * model.stat().st_size)
    model.chmod(0o444)


def test_the_list_marks_what_serves(run: Callable[..., Result]) -> None:
    """As text for a person, with more as JSON."""
    lines = run("list").output.splitlines()
    assert [" ", "*"] == [line[0] for line in lines]
    assert "int8, 2026-11-25T10:00:00+00:00" in lines[1]
    rows = json.loads(run("list", "--json").stdout)
    assert [(NAMES[0], False, 0.01), (NAMES[1], True, 0.01)] == [
        (row["build"], row["active"], row["wer"]) for row in rows
    ]


def test_a_list_shows_what_cannot_be_read(run: Callable[..., Result], builds: Builds) -> None:
    """Instead of nothing."""
    (builds.folder / NAMES[0] / "manifest.json").unlink()
    assert "has no manifest.json" in run("list").output


def test_switching_and_going_back(run: Callable[..., Result], builds: Builds) -> None:
    """Each says what serves then, and how a server takes it."""
    assert "restart the running one" in run("activate", "base", NAMES[0]).output
    assert NAMES[0] == builds.active()
    back = json.loads(run("rollback", "base", "--engine", "ctranslate2", "--json").stdout)
    assert {"engine": "ctranslate2", "model": "base", "active": NAMES[1]} == back
    missing = run("activate", "base", "nothing", status=1)
    assert f"base has no build nothing; it has {NAMES[0]}, {NAMES[1]}" in missing.output


def test_a_spoilt_build_is_found_and_not_activated(
    run: Callable[..., Result], builds: Builds
) -> None:
    """Exit code 1; the other one is right."""
    spoil(builds, NAMES[0])
    done = run("verify", status=1)
    assert f"{NAMES[0]}: The converted model base is not loaded" in done.stdout
    assert f"{NAMES[1]}: right" in done.stdout
    assert "model.bin is not the file that was built" in run(
        "activate", "base", NAMES[0], status=1
    ).output  # fmt: skip
    assert NAMES[1] == builds.active()


@pytest.mark.parametrize("passes", [True, False])
def test_the_active_build_can_be_judged_again(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, passes: bool
) -> None:
    """By the clips that were named, in the quantization that it has."""
    weights = tmp_path / "weights" / "base"
    clips = tmp_path / "clips.tsv"
    clips.touch()
    asked: list[Any] = []

    def gate(order: Any, _say: Any) -> Callable[[Path], GateResult]:
        asked.append(order)

        def judge(_: Path) -> GateResult:
            if not passes:
                raise GateError("word error rate 40 %")
            return GATE

        return judge

    monkeypatch.setattr(command, "cpu_gate", gate)
    monkeypatch.setattr(command, "_weights", lambda _: weights)
    arguments = ("verify", "--gate", "--clips", str(clips), "--json")
    rows = json.loads(run(*arguments, status=0 if passes else 1).stdout)
    assert [None, None if passes else "word error rate 40 %"] == [row["problem"] for row in rows]
    assert "gate" not in rows[0]
    assert (0.017 if passes else None) == (
        rows[1]["gate"] and rows[1]["gate"]["max_logprob_difference"]
    )
    (order,) = asked
    assert ("int8", clips, weights) == (order.quantization, order.clips, order.weights)
