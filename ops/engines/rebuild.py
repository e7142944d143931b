"""A rebuild from checked weights to the build that serves: the story.

Knows: the order: lock, weights, build, gate, switch, old builds.
Must not know: how weights are fetched, how a build is made, how a switch is made safe.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from engine_build.build import Source, build
from engine_build.checkpoint import sha256_of
from engine_build.converted import build_converted
from engine_build.dims import SIZES
from engine_build.errors import BuildError, GateError, NoGpu, PlanError
from engine_build.gpu_gate import gpu_gate
from engine_build.gpus import GPUS, Gpu, find_gpu
from engine_build.plan import make_plan
from engine_build.quantize import Quantization
from engine_build.reference import refer
from engine_build.verify import QUANTIZED, Limits, Say
from engine_build.work import alone
from ops.engines.builds import Builds
from server.engines import ctranslate2
from server.engines.choice import EngineName
from server.engines.device import find_devices
from server.engines.manifest import GateResult
from server.errors import EngineError

ROOM_FACTOR = 3
"""Of the weights' size in float16: float32 takes 2, a checkpoint and its engines a little more."""

ComputeType = Literal["int8", "int8_float32", "float32"]


@dataclass(frozen=True, slots=True)
class Order:
    """What to build. `weights` is the model's checked CTranslate2 folder, in float16 or float32.

    `gpu` None is the card of this machine, `windows` None what is usual on it; `compute_type` is
    that of the server which will load a converted model.
    """

    model: str
    engine: EngineName
    weights: Path
    clips: Path
    quantization: Quantization = "int8"
    compute_type: ComputeType = "int8"
    gpu: str | None = None
    windows: int | None = None


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did: the new build's name, and the names of those deleted for it."""

    build: str
    gate: GateResult
    activated: bool
    deleted: tuple[str, ...]


def rebuild(  # noqa: PLR0913 - what, where, and what then
    order: Order,
    engines: Path,
    *,
    keep: int,
    activate: bool,
    say: Say,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Rebuilt:
    """Build beside what serves, judge it, and let it take over.

    Whatever fails or is killed before the end leaves what serves as it is.

    Raises:
        BuildError: another rebuild runs, a step failed, or the gate was not passed.
    """
    builds = Builds(engines, order.engine, order.model)
    engines.mkdir(parents=True, exist_ok=True)
    with alone(engines, f"another rebuild runs in {engines}"):
        _make_sure_of_room(order, engines)
        kind = _gpu(order).key if order.engine == "tensorrt_llm" else order.quantization
        name = f"{now():%Y%m%dT%H%M%SZ}-{kind}"
        make = _for_cpu if order.engine == "ctranslate2" else _for_gpu
        gate = make(order, builds.folder / name, say)
        deleted: list[str] = []
        if activate:
            builds.activate(name)
            say(f"active: {name}")
            deleted = builds.prune(keep)
            for old in deleted:
                say(f"deleted: {old}")
    return Rebuilt(name, gate, activate, tuple(deleted))


def _make_sure_of_room(order: Order, engines: Path) -> None:
    need = ROOM_FACTOR * (order.weights / "model.bin").stat().st_size
    room = shutil.disk_usage(engines).free
    if room < need:
        raise BuildError(
            f"{engines} has room for {room / 1e9:.1f} GB; a rebuild of {order.model} takes up to "
            f"{need / 1e9:.1f} GB"
        )


def _for_cpu(order: Order, out: Path, say: Say) -> GateResult:
    gate = cpu_gate(order, say)
    built = build_converted(order.model, order.quantization, order.weights, out, say, gate)
    return built.gate


def cpu_gate(order: Order, say: Say) -> Callable[[Path], GateResult]:
    """Opens a converted model as the server will, and judges it by the weights it is made from."""

    def judge(folder: Path) -> GateResult:
        reference = refer(order.weights, order.clips, say)
        say(f"the new model, with SUSSURRO_COMPUTE_TYPE={order.compute_type}")
        try:
            engine = ctranslate2.load(
                order.model, folder, compute_type=order.compute_type, workers=0, threads=1,
                max_batch_size=len(reference.windows),
            )  # fmt: skip
        except EngineError as error:
            raise GateError(f"the server cannot open the new model: {error}") from error
        rounded = "int8" in order.quantization or "int8" in order.compute_type
        return reference.judge(engine, QUANTIZED if rounded else Limits(), say)

    return judge


def _for_gpu(order: Order, out: Path, say: Say) -> GateResult:
    if order.model not in SIZES:
        raise PlanError(f"no plan for {order.model}; there are {', '.join(SIZES)}")
    plan = make_plan(order.model, _gpu(order), SIZES[order.model], order.windows)
    say(f"hashing the weights in {order.weights}")
    pinned = sha256_of(order.weights / "model.bin")
    gate = gpu_gate(order.model, order.weights, order.weights, order.clips, say)
    built = build(plan, Source(Path(), order.weights, pinned), out, say, gate)
    assert built.gate is not None, "This is a bug: what is published has passed the gate"
    return built.gate


def _gpu(order: Order) -> Gpu:
    """The kind of card to build for; by default the one that is here."""
    if order.gpu is not None:
        return find_gpu(order.gpu)
    try:
        name = find_devices()[0].name
    except EngineError as error:
        raise NoGpu(str(error)) from error
    for gpu in GPUS.values():
        if name in gpu.names:
            return gpu
    raise PlanError(f"no plan for {name}; there are {', '.join(GPUS)}")
