"""Whether builds are still what passed the gate.

Knows: manifests, and what a gate needs.
Must not know: how a build is made or activated.
"""

from collections.abc import Callable
from pathlib import Path

from engine_build.errors import BuildError
from engine_build.quantize import QUANTIZATIONS, Quantization
from ops.engines.builds import Builds
from server.engines import choice, converted, manifest
from server.engines.manifest import GateResult
from server.errors import EngineError


def problem(builds: Builds, name: str) -> str | None:
    """What is wrong with a build's files; None if every byte is as it was built.

    An engine for a GPU is also compared with this machine, if it has a GPU.
    """
    folder = builds.path(name)
    try:
        if builds.engine == "ctranslate2":
            converted.verify(folder)
            return None
        found = manifest.read(folder)
        manifest.verify(folder, _machine(found))
    except EngineError as error:
        return str(error)
    return None


def judge(
    builds: Builds, name: str, gate: Callable[[Path], GateResult]
) -> tuple[GateResult | None, str | None]:
    """What the gate measures in a build now, or why it does not pass."""
    try:
        return gate(builds.path(name)), None
    except BuildError as error:
        return None, str(error)


def no_gpu_gate() -> str | None:
    """Why no engine for a GPU can be judged on this machine; None if one can."""
    try:
        here = choice.here()
    except EngineError as error:
        return str(error)
    if "tensorrt_llm" not in here.versions:
        return "TensorRT-LLM is not installed; the images for GPUs have it"
    return None


def quantization(builds: Builds, name: str) -> Quantization:
    """Of a converted model whose files are right."""
    found = manifest.read_as(converted.ADAPTER, builds.path(name)).quantization
    return next(known for known in QUANTIZATIONS if known == found)


def described(builds: Builds, name: str) -> dict[str, object]:
    """A build for a list: when, what, how large, how well; `problem` if it cannot be read."""
    folder = builds.path(name)
    row: dict[str, object] = {
        "engine": builds.engine,
        "model": builds.model,
        "build": name,
        "active": name == builds.active(),
        "bytes": sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()),
    }
    try:
        if builds.engine == "ctranslate2":
            model = manifest.read_as(converted.ADAPTER, folder)
            return row | {
                "created": model.created,
                "kind": model.quantization,
                "wer": model.gate.wer,
            }
        engine = manifest.read(folder)
    except EngineError as error:
        return row | {"problem": str(error)}
    kind = f"{engine.gpu_name}, {engine.windows} windows"
    return row | {"created": engine.created, "kind": kind, "wer": engine.gate and engine.gate.wer}


def _machine(found: manifest.Manifest) -> manifest.Running:
    """The machine that is here, or where it has no GPU the one that the engine was built for."""
    try:
        return choice.here()
    except EngineError:
        return manifest.Running(found.gpu_name, found.compute_capability, found.versions)
