"""What a GPU needs to serve: driver, versions, and memory for the engines.

Knows: what TensorRT-LLM 1.2.1 asks for, and the plans of the build stage.
Must not know: engines' files (`models.py` looks at them).
"""

from collections.abc import Iterator
from importlib import metadata

from engine_build import recordings
from engine_build.dims import SIZES
from engine_build.errors import PlanError
from engine_build.gpus import GPUS, Gpu
from engine_build.plan import budget, make_plan, usable_bytes
from ops.finding import Finding, failed, note, ok
from server.engines.device import Device, find_devices
from server.errors import EngineError
from server.settings import Settings

DRIVER = 580
"""The first branch for CUDA 13, on which PyTorch 2.9.1 and TensorRT-LLM 1.2.1 are built."""

IMAGE = "run the server in the GPU image, which has it (docs/tensorrt_llm.md)"


def gpu(settings: Settings) -> Iterator[Finding]:
    """All of it; without a GPU one line, a failure only where one was asked for."""
    if settings.engine == "ctranslate2":
        yield ok("gpu", "not looked for: SUSSURRO_ENGINE is ctranslate2")
        return
    asked = settings.engine == "tensorrt_llm"
    try:
        devices = find_devices()
    except EngineError as error:
        todo = (
            "install NVIDIA's driver; in a container give it the GPU "
            "(NVIDIA's container toolkit, `gpus` or `devices` in compose)"
        )
        yield failed("gpu", str(error), todo) if asked else ok("gpu", f"none: {error}")
        return
    for number in settings.gpus:
        if number >= len(devices):
            todo = f"there are {len(devices)}: set SUSSURRO_GPUS to numbers below that"
            yield failed(f"gpu {number}", "it is not there", todo)
            continue
        yield from _card(settings, number, devices[number])
    yield from _versions(required=asked)


def _card(settings: Settings, number: int, device: Device) -> Iterator[Finding]:
    found = f"{device.name}, capability {device.compute_capability}, {device.memory_mib:,} MiB"
    plans = [plan for plan in GPUS.values() if device.name in plan.names]
    if plans:
        yield ok(f"gpu {number}", found)
        yield _memory(settings, number, plans[0])
    else:
        todo = f"engines are planned for {', '.join(GPUS)}; add the card to engine_build/gpus.py"
        yield note(f"gpu {number}", found, todo)
    branch = device.driver.partition(".")[0]
    if branch.isdigit() and int(branch) >= DRIVER:
        yield ok("driver", device.driver)
    else:
        todo = f"CUDA 13 needs R{DRIVER} or newer, or CUDA's compatibility package"
        yield note("driver", device.driver, todo)


def _memory(settings: Settings, number: int, card: Gpu) -> Finding:
    """All models are loaded on each GPU."""
    check, need = f"memory of gpu {number}", 0
    for model in settings.models:
        if model not in SIZES:
            continue
        try:
            need += sum(item.bytes for item in budget(make_plan(model, card, SIZES[model])))
        except PlanError as error:
            return failed(check, str(error), "take a smaller model, or fewer windows")
    room = usable_bytes(card)
    found = f"{need / 2**30:.1f} GiB planned of {room / 2**30:.1f} GiB"
    if need > room:
        return failed(check, found, "serve fewer models, or rebuild them with fewer --windows")
    return ok(check, found)


def _versions(*, required: bool) -> Iterator[Finding]:
    wanted = recordings.version()
    try:
        here = metadata.version("tensorrt_llm")
    except metadata.PackageNotFoundError:
        state = failed if required else note
        yield state("tensorrt_llm", "not installed", IMAGE)
        return
    if here != wanted:
        yield failed("tensorrt_llm", f"{here}; engines are built with {wanted}", IMAGE)
    else:
        yield ok("tensorrt_llm", here)
