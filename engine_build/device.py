"""The GPU and the TensorRT-LLM of this machine.

Knows: nvidia-smi, and which versions are installed.
Must not know: plans. Nothing of CUDA or TensorRT is imported: that needs a driver.
"""

import csv
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

from engine_build import recordings
from engine_build.errors import CompileError, NoGpu
from engine_build.gpus import Gpu

QUERY = ("name", "compute_cap", "driver_version")
TIMEOUT = 30.0
"""Seconds that nvidia-smi may take; without persistence mode it wakes the card first."""

PACKAGES = ("tensorrt_llm", "tensorrt", "torch")


@dataclass(frozen=True, slots=True)
class Device:
    """The first card, as the driver describes it."""

    name: str
    compute_capability: str
    driver: str


def find_device() -> Device:
    """The first GPU of this machine.

    Raises:
        NoGpu: there is none, or its driver does not answer.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        raise NoGpu("this machine has no NVIDIA driver (no nvidia-smi)")
    command = [program, f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(  # noqa: S603  our own arguments
            command, capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoGpu(f"nvidia-smi does not answer: {error}") from error
    rows = list(csv.reader(done.stdout.splitlines(), skipinitialspace=True))
    if done.returncode != 0 or not rows or len(rows[0]) != len(QUERY):
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NoGpu(f"the NVIDIA driver sees no GPU: {said[0] if said else 'it says nothing'}")
    return Device(*rows[0])


def check_device(gpu: Gpu) -> Device:
    """The GPU of this machine, if it is one of that kind: kernels are chosen by timing them on it.

    Raises:
        NoGpu: there is none, or another one.
    """
    try:
        device = find_device()
    except NoGpu as error:
        raise NoGpu(
            f"{error}. An engine for {gpu.key} can only be compiled on one; "
            "--convert-only and --dry-run work anywhere"
        ) from error
    if device.name not in gpu.names:
        raise NoGpu(
            f"this machine has {device.name}; an engine for {gpu.key} is compiled on "
            f"{' or '.join(gpu.names)}"
        )
    if device.compute_capability != gpu.compute_capability:
        raise NoGpu(
            f"{device.name} says compute capability {device.compute_capability}, "
            f"planned is {gpu.compute_capability}"
        )
    return device


def installed_versions() -> Mapping[str, str]:
    """Versions of what the engine depends on.

    Raises:
        CompileError: TensorRT-LLM is missing or another version.
    """
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    here = found.get("tensorrt_llm", "none")
    if here != recordings.version():
        raise CompileError(f"TensorRT-LLM {recordings.version()} is needed, here is {here}")
    return found
