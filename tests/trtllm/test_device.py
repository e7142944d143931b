from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from engine_build.device import check_device, installed_versions
from engine_build.errors import CompileError, NoGpu
from engine_build.gpus import GPUS
from server.engines.device import Device, find_devices

Program = Callable[[str, str], Path]
L40 = """#!/bin/sh
echo 'NVIDIA L40, 8.9, 580.82.07, 46068'
echo 'NVIDIA A10, 8.6, 580.82.07, 22731'
"""


def test_the_cards_are_found(program: Program) -> None:
    """All that nvidia-smi prints of each; the first is the one to build for."""
    program("nvidia-smi", L40)
    first, second = find_devices()
    assert Device("NVIDIA L40", "8.9", "580.82.07", 46_068) == first
    assert "NVIDIA A10" == second.name
    assert first == check_device(GPUS["l40"])


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 9", "sees no GPU: it says nothing"),
        ("echo 'No devices were found'; exit 6", "sees no GPU: No devices were found"),
        ("echo 'NVIDIA-SMI has failed' >&2; exit 9", "sees no GPU: NVIDIA-SMI has failed"),
        ("echo 'NVIDIA L40'", "sees no GPU: NVIDIA L40"),
        (
            "echo 'NVIDIA A10, 8.6, 580.1, 22731'",
            "has NVIDIA A10; an engine for l40 is compiled on",
        ),
        ("echo 'NVIDIA L40, 9.0, 580.1, 46068'", "says compute capability 9.0, planned is 8.9"),
    ],
)
def test_any_other_answer_is_refused(program: Program, script: str, reason: str) -> None:
    """With what is wrong."""
    program("nvidia-smi", f"#!/bin/sh\n{script}\n")
    with pytest.raises(NoGpu, match=reason):
        check_device(GPUS["l40"])


def test_without_a_driver_it_is_said_what_works(program: Program) -> None:
    """Compiling does not; converting does."""
    program("other", "#!/bin/sh\n")
    with pytest.raises(NoGpu, match=r"no NVIDIA driver.*--convert-only and --dry-run"):
        check_device(GPUS["l40"])


def test_the_one_version_of_tensorrt_llm_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing or another one: no compilation; the right one: all versions that matter."""
    with pytest.raises(CompileError, match=r"TensorRT-LLM 1\.2\.1 is needed, here is none"):
        installed_versions()
    here = {"tensorrt_llm": "1.3.0rc22", "torch": "2.9.1"}

    def version(name: str) -> str:
        if name not in here:
            raise metadata.PackageNotFoundError(name)
        return here[name]

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(CompileError, match=r"is needed, here is 1\.3\.0rc22"):
        installed_versions()
    here["tensorrt_llm"] = "1.2.1"
    assert here == installed_versions()
