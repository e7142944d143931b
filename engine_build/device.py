"""Whether this machine can build for a kind of GPU.

Knows: its first card, and which versions are installed.
Must not know: plans. Nothing of CUDA or TensorRT is imported: that needs a driver.
"""

from collections.abc import Mapping
from importlib import metadata

from engine_build import recordings
from engine_build.errors import CompileError, NoGpu
from engine_build.gpus import Gpu
from server.engines.device import Device, find_devices
from server.errors import EngineError

PACKAGES = ("tensorrt_llm", "tensorrt", "torch")


def check_device(gpu: Gpu) -> Device:
    """The GPU of this machine, if it is one of that kind: kernels are chosen by timing them on it.

    Raises:
        NoGpu: there is none, or another one.
    """
    try:
        device = find_devices()[0]
    except EngineError as error:
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
