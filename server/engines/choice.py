"""Which engine a model gets on this machine, from which folder, and why.

Knows: the setting, the folder of engines, the GPU, manifests.
Must not know: how an engine is built or loaded.

    <engines>/tensorrt_llm/<model>/current → the active build   `ops engines` makes and switches
    <engines>/ctranslate2/<model>/current → the active build    these
    <weights>/<model>                                           where nothing was built

A choice is made once, at the start: a server takes another build when it is started again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeAlias

from server.engines import converted, manifest
from server.engines.device import find_devices
from server.engines.manifest import Running
from server.errors import EngineError

EngineName: TypeAlias = Literal["tensorrt_llm", "ctranslate2", "ray"]
Asked: TypeAlias = Literal["auto", "tensorrt_llm", "ctranslate2", "ray"]
"""The setting `SUSSURRO_ENGINE`."""

ENGINES: tuple[EngineName, ...] = ("tensorrt_llm", "ctranslate2")

CURRENT = "current"
"""The link to the active build of a model."""

WEIGHTS = "weights"
"""In place of a build's name: the weights themselves, as they were fetched."""

NO_MATCH = "no matching engine"
"""An engine is there, but was built for something else, or is damaged."""

WEIGHT_FILES = ("model.bin", "config.json", "tokenizer.json")


@dataclass(frozen=True, slots=True)
class Choice:
    """What serves a model. `why` is for everybody, `detail` for the operator's log."""

    engine: EngineName
    folder: Path
    build: str
    why: str
    detail: str | None = None


class _No(Exception):
    """Why TensorRT-LLM cannot serve a model here."""

    def __init__(self, why: str, detail: str | None = None) -> None:
        super().__init__(why)
        self.why, self.detail = why, detail


def choose(  # noqa: PLR0913 - where to look, all by name
    model: str,
    asked: Asked,
    *,
    engines: Path,
    weights: Path,
    running: Callable[[], Running] | None = None,
    on_cluster_gpus: bool = False,
) -> Choice:
    """The engine of `model`; `auto` is TensorRT-LLM where a GPU and a matching engine are there.

    Reads every byte of a build. `weights` is the model's own folder, `engines` that of all
    builds; `running` describes this machine. `on_cluster_gpus`: a cluster's engines are
    TensorRT-LLM's.

    Raises:
        EngineError: what was asked for, or all that is left, cannot be had.
    """
    if asked == "ctranslate2":
        return _ctranslate2(model, engines, weights, "asked for", None)
    if asked == "ray":
        if on_cluster_gpus:
            return _on_cluster_gpus(model, engines)
        # Engines of a cluster run on CTranslate2, from the same folder on each machine.
        return replace(_ctranslate2(model, engines, weights, "asked for", None), engine="ray")
    try:
        folder = _tensorrt_llm(model, engines, running or here)
    except _No as no:
        if asked == "auto":
            return _ctranslate2(model, engines, weights, no.why, no.detail)
        detail = f": {no.detail}" if no.detail else ""
        raise EngineError(
            f"SUSSURRO_ENGINE is tensorrt_llm, but for {model} there is {no.why}{detail}"
        ) from no
    why = "asked for" if asked == "tensorrt_llm" else "a GPU and a matching engine"
    return Choice("tensorrt_llm", folder, folder.name, why)


def current(engines: Path, engine: EngineName, model: str) -> Path | None:
    """The folder of the active build, if there is one; the link itself is followed."""
    link = engines / engine / model / CURRENT
    return link.resolve() if link.is_symlink() else None


def here(gpu: int = 0) -> Running:
    """What this machine is, by its GPU of that number.

    Raises:
        EngineError: it has none.
    """
    devices = find_devices()
    if gpu >= len(devices):
        raise EngineError(f"this machine has {len(devices)} GPUs, and none of number {gpu}")
    device = devices[gpu]
    versions = {}
    for package in ("tensorrt_llm", "tensorrt"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return Running(device.name, device.compute_capability, versions)


def _tensorrt_llm(model: str, engines: Path, running: Callable[[], Running]) -> Path:
    try:
        machine = running()
    except EngineError as error:
        raise _No("no GPU", str(error)) from error
    folder = current(engines, "tensorrt_llm", model)
    if folder is None:
        raise _No("no active engine", f"`python -m ops engines rebuild {model}` makes one")
    if "tensorrt_llm" not in machine.versions:
        raise _No("no TensorRT-LLM", "it is not installed here")
    try:
        manifest.verify(folder, machine)
    except EngineError as error:
        raise _No(NO_MATCH, str(error)) from error
    return folder


def _on_cluster_gpus(model: str, engines: Path) -> Choice:
    """Each machine compares its copy with its own card; this one need not have any."""
    folder = current(engines, "tensorrt_llm", model)
    if folder is None:
        raise EngineError(
            f"SUSSURRO_RAY_GPUS is set, but {model} has no active engine in {engines}: "
            f"`python -m ops engines rebuild {model}` makes one where a GPU is"
        )
    return Choice("ray", folder, folder.name, "asked for")


def _ctranslate2(model: str, engines: Path, weights: Path, why: str, detail: str | None) -> Choice:
    folder = current(engines, "ctranslate2", model)
    if folder is not None:
        converted.verify(folder)
        return Choice("ctranslate2", folder, folder.name, why, detail)
    if not all((weights / name).is_file() for name in WEIGHT_FILES):
        raise EngineError(
            f"no weights for `{model}` in {weights}: run `python -m ops weights get {model}`"
        )
    return Choice("ctranslate2", weights, WEIGHTS, why, detail)
