"""Which engine serves a model, and what is said about it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from engine_build import manifest as writing
from engine_build.dims import SIZES
from engine_build.gpus import GPUS
from engine_build.plan import make_plan
from server.engines.choice import WEIGHT_FILES, Asked, Choice, choose, here
from server.engines.device import Device
from server.engines.manifest import GateResult, Running
from server.errors import EngineError

VERSIONS = {"tensorrt_llm": "1.2.1", "tensorrt": "10.14.1.48.post1"}
L40 = Running("NVIDIA L40", "8.9", VERSIONS)
NO_GPU = "this machine has no NVIDIA driver (no nvidia-smi)"


def no_gpu() -> Running:
    raise EngineError(NO_GPU)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A model's folder, as far as names go."""
    folder = tmp_path / "weights" / "base"
    folder.mkdir(parents=True)
    for name in WEIGHT_FILES:
        (folder / name).touch()
    return folder


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """The folder of engines; nothing was built."""
    return tmp_path / "engines"


@pytest.fixture
def built(engines: Path) -> Path:
    """An active engine for the L40."""
    folder = engines / "tensorrt_llm" / "base" / "20261125T120000Z-l40"
    for part in ("encoder", "decoder"):
        (folder / part).mkdir(parents=True)
        (folder / part / "rank0.engine").write_bytes(part.encode())
    writing.write(
        folder,
        make_plan("base", GPUS["l40"], SIZES["base"]),
        Device("NVIDIA L40", "8.9", "580.82.07", 46_068),
        versions=VERSIONS,
        weights_sha256="ab" * 32,
        gate=GateResult(6, 0.02, 0.02, 0.004, 0.0),
    )
    writing.protect(folder)
    (folder.parent / "current").symlink_to(folder.name)
    return folder


@pytest.mark.usefixtures("built")
def test_a_gpu_with_a_matching_engine_is_taken(engines: Path, weights: Path) -> None:
    """By itself, or because it was asked for; the build's name is told."""
    asked: tuple[tuple[Asked, str], ...] = (
        ("auto", "a GPU and a matching engine"),
        ("tensorrt_llm", "asked for"),
    )
    for setting, why in asked:
        found = choose("base", setting, engines=engines, weights=weights, running=lambda: L40)
        assert ("tensorrt_llm", "20261125T120000Z-l40", why) == (
            found.engine, found.build, found.why,
        )  # fmt: skip


def spoil(engine: Path) -> None:
    path = engine / "decoder" / "rank0.engine"
    path.chmod(0o644)
    path.write_bytes(b"recoded")
    path.chmod(0o444)


def another_card() -> Running:
    return Running("NVIDIA A10", "8.6", VERSIONS)


@pytest.mark.parametrize(
    ("change", "running", "why", "detail"),
    [
        (None, no_gpu, "no GPU", NO_GPU),
        (None, another_card, "no matching engine", "here is NVIDIA A10"),
        (spoil, lambda: L40, "no matching engine", "is not the file that was built"),
        (None, lambda: Running("NVIDIA L40", "8.9"), "no TensorRT-LLM", "not installed"),
    ],
)
def test_anything_else_is_the_cpu_engine_unless_a_gpu_was_asked_for(
    engines: Path,
    weights: Path,
    built: Path,
    change: Callable[[Path], None] | None,
    running: Callable[[], Running],
    why: str,
    detail: str,
) -> None:
    """It is said why, and what differs; who insists on a GPU gets no server instead."""
    if change:
        change(built)
    found = choose("base", "auto", engines=engines, weights=weights, running=running)
    assert ("ctranslate2", weights, "weights", why) == (
        found.engine, found.folder, found.build, found.why,
    )  # fmt: skip
    assert detail in str(found.detail)
    with pytest.raises(EngineError, match=f"is tensorrt_llm.*{why}.*{re.escape(detail)}"):
        choose("base", "tensorrt_llm", engines=engines, weights=weights, running=running)


def test_a_gpu_without_an_engine_is_not_used(engines: Path, weights: Path) -> None:
    """The command that makes one is told."""
    found = choose("base", "auto", engines=engines, weights=weights, running=lambda: L40)
    assert ("ctranslate2", "no active engine") == (found.engine, found.why)
    assert "ops engines rebuild base" in str(found.detail)


def test_the_cpu_engine_can_be_asked_for(engines: Path, weights: Path) -> None:
    """Then no GPU is looked for."""
    found = choose("base", "ctranslate2", engines=engines, weights=weights, running=lambda: 1 / 0)
    assert Choice("ctranslate2", weights, "weights", "asked for") == found


def test_without_weights_nothing_can_serve(engines: Path, tmp_path: Path) -> None:
    """The command that fetches them is told."""
    with pytest.raises(EngineError, match="run `python -m ops weights get base`"):
        choose("base", "auto", engines=engines, weights=tmp_path / "base", running=no_gpu)


def test_the_gpu_of_the_settings_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its number; one that is not there is said."""
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\necho 'NVIDIA A10, 8.6, 580, 1'\necho 'NVIDIA L40, 8.9, 580, 2'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ("NVIDIA L40", "8.9") == ((machine := here(1)).gpu_name, machine.compute_capability)
    with pytest.raises(EngineError, match="has 2 GPUs, and none of number 2"):
        here(2)


def test_a_clusters_gpus_need_a_build_and_no_gpu_here(engines: Path, weights: Path) -> None:
    """Each machine compares the build with its own card."""
    with pytest.raises(EngineError, match=r"RAY_GPUS.*ops engines rebuild base"):
        choose("base", "ray", engines=engines, weights=weights, on_cluster_gpus=True)


def test_a_clusters_gpus_take_the_active_build(engines: Path, weights: Path, built: Path) -> None:
    """Under its name; without GPUs there it is the CPU's."""
    found = choose(
        "base", "ray", engines=engines, weights=weights, running=no_gpu, on_cluster_gpus=True
    )
    assert Choice("ray", built, built.name, "asked for") == found
    found = choose("base", "ray", engines=engines, weights=weights, running=no_gpu)
    assert Choice("ray", weights, "weights", "asked for") == found
