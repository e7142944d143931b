import dataclasses
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from random_whisper import TINY

from engine_build import manifest as writing
from engine_build.gpus import GPUS
from engine_build.plan import make_plan
from server.engines import manifest as reading
from server.engines.device import Device
from server.engines.manifest import GateResult, Running
from server.errors import EngineError

VERSIONS = {"tensorrt_llm": "1.2.1", "tensorrt": "10.14.1.48.post1", "torch": "2.9.1"}
GATE = GateResult(6, 0.02, 0.02, 0.004, 0.0)
HERE = Running("NVIDIA L40", "8.9", {"tensorrt_llm": "1.2.1", "tensorrt": "10.14.1.48.post1"})


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A published engine."""
    folder = tmp_path / "engine"
    for part in ("encoder", "decoder"):
        (folder / part).mkdir(parents=True)
        (folder / part / "rank0.engine").write_bytes(part.encode() * 100)
        (folder / part / "config.json").write_text("{}")
    (folder / "encoder.log").write_text("done\n")
    publish(folder, GATE)
    return folder


def publish(folder: Path, gate: GateResult | None) -> None:
    writing.write(
        folder,
        make_plan("large-v3", GPUS["l40"], TINY),
        Device("NVIDIA L40", "8.9", "580.82.07", 46_068),
        versions=VERSIONS,
        weights_sha256="ab" * 32,
        gate=gate,
        clock=lambda: datetime(2026, 11, 22, 11, 0, tzinfo=UTC),
    )
    writing.protect(folder)


def open_up(path: Path) -> Path:
    """Undo the protection, as an intruder or a hasty hand would."""
    path.parent.chmod(0o755)
    if path.exists():
        path.chmod(0o644)
    return path


def test_an_engine_that_is_what_was_built_passes(engine: Path) -> None:
    """And its manifest says everything that there is to know."""
    found = reading.verify(engine, HERE)
    assert ("large-v3", "l40", "2026-11-22T11:00:00+00:00") == (
        found.model,
        found.gpu,
        found.created,
    )
    assert (VERSIONS, TINY.as_dict(), GATE) == (found.versions, found.dims, found.gate)
    assert "--max_encoder_input_len" in found.flags["decoder"]
    assert {
        "encoder.log",
        "encoder/config.json",
        "encoder/rank0.engine",
        "decoder/config.json",
        "decoder/rank0.engine",
    } == set(found.files)


def test_files_are_read_only(engine: Path) -> None:
    """Nobody changes an engine by accident."""
    assert {0o444} == {p.stat().st_mode & 0o777 for p in engine.rglob("*") if p.is_file()}


def flip(engine: Path) -> None:
    path = open_up(engine / "decoder" / "rank0.engine")
    path.write_bytes(b"D" + path.read_bytes()[1:])
    path.chmod(0o444)


def shorten(engine: Path) -> None:
    path = open_up(engine / "decoder" / "rank0.engine")
    path.write_bytes(b"short")
    path.chmod(0o444)


def remove(engine: Path) -> None:
    open_up(engine / "decoder" / "rank0.engine").unlink()


def link(engine: Path) -> None:
    path = open_up(engine / "decoder" / "rank0.engine")
    path.rename(engine.parent / "elsewhere")
    path.symlink_to(engine.parent / "elsewhere")


def loosen(engine: Path) -> None:
    open_up(engine / "decoder" / "rank0.engine").chmod(0o666)


def add(engine: Path) -> None:
    open_up(engine / "decoder" / "rank1.engine").touch()


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        (flip, r"decoder/rank0\.engine is not the file that was built"),
        (shorten, r"decoder/rank0\.engine has 5 bytes, built were 700"),
        (remove, r"decoder/rank0\.engine is missing"),
        (link, r"decoder/rank0\.engine is no regular file"),
        (loosen, r"decoder/rank0\.engine can be written by others"),
        (add, r"decoder/rank1\.engine is not in the manifest"),
    ],
)
def test_a_changed_engine_is_not_loaded(
    engine: Path, change: Callable[[Path], None], clause: str
) -> None:
    """What differs is said, and what builds it anew."""
    change(engine)
    rebuild = "python -m ops engines rebuild large-v3 --gpu l40 --windows 32"
    with pytest.raises(EngineError, match=clause) as error:
        reading.verify(engine, HERE)
    assert rebuild in str(error.value)
    assert str(engine) not in str(error.value)  # a message may reach a client


@pytest.mark.parametrize(
    ("running", "clause"),
    [
        (
            dataclasses.replace(HERE, gpu_name="NVIDIA L40S"),
            "built on NVIDIA L40, here is NVIDIA L40S",
        ),
        (dataclasses.replace(HERE, compute_capability="9.0"), r"capability 8\.9, here is 9\.0"),
        (dataclasses.replace(HERE, versions={}), r"built with tensorrt_llm 1\.2\.1, here is None"),
        (
            dataclasses.replace(HERE, versions=VERSIONS | {"tensorrt": "10.15.1"}),
            r"built with tensorrt 10\.14\.1\.48\.post1, here is 10\.15\.1",
        ),
    ],
)
def test_another_machine_does_not_load_it(engine: Path, running: Running, clause: str) -> None:
    """Kernels are made for one kind of card and one runtime."""
    with pytest.raises(EngineError, match=clause):
        reading.verify(engine, running)


def test_an_engine_without_a_gate_is_not_loaded(engine: Path) -> None:
    """It may transcribe nonsense."""
    for path in engine.rglob("*"):
        open_up(path) if path.is_file() else path.chmod(0o755)
    publish(engine, None)
    with pytest.raises(EngineError, match="has not passed the gate"):
        reading.verify(engine, HERE)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format: Input should be 1"),
        ({"extra": 1}, "extra: Unexpected keyword argument"),
        ({"weights_sha256": "abc"}, "weights_sha256: String should match"),
        ({"files": {"../../etc/passwd": {"size": 1, "sha256": "0" * 64}}}, "String should match"),
        ({"files": {"a.engine": {"size": -1, "sha256": "0" * 64}}}, "greater than or equal to 0"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(
    engine: Path, change: dict[str, object], reason: str
) -> None:
    """It comes from a folder, so it may be anything."""
    path = open_up(engine / reading.NAME)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(EngineError, match=reason):
        reading.read(engine)


def test_no_manifest_or_half_a_manifest(engine: Path) -> None:
    """Two different complaints."""
    path = open_up(engine / reading.NAME)
    os.truncate(path, 40)
    with pytest.raises(EngineError, match=r"manifest\.json is damaged: JSON: Invalid JSON"):
        reading.read(engine)
    path.unlink()
    with pytest.raises(EngineError, match=r"no manifest\.json; it was not built by engine_build"):
        reading.read(engine)
