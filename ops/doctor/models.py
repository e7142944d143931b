"""What the server is to serve: keys, weights, the engine of each model, memory and disk for it.

Knows: where each is kept, and what the server would say about it.
Must not know: the machine's other sides.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from ops.doctor.machine import available_memory_bytes
from ops.engines.rebuild import ROOM_FACTOR
from ops.finding import Finding, failed, note, ok
from ops.records import OWN
from ops.weights.catalogue import load_catalogue
from ops.weights.store import Store
from server.access.callers import Callers
from server.access.records import RecordsError
from server.engines.choice import WEIGHT_FILES, WEIGHTS, Choice, choose, here
from server.errors import EngineError
from server.settings import Settings

MEMORY_FACTOR = 4
"""Estimate: weights in two arithmetics (OpenVINO's encoder beside CTranslate2), and batches."""

MEMORY_BASE_BYTES = 1 << 30
"""Estimate: libraries, recordings and requests."""


def models(settings: Settings) -> Iterator[Finding]:
    """All of it."""
    yield from _keys(settings)
    chosen: list[Choice] = []
    for model in settings.models:
        yield _engine(settings, model, chosen)
        if not chosen or chosen[-1].build == WEIGHTS:
            yield _weights(settings, model)
    yield _memory([choice for choice in chosen if choice.engine == "ctranslate2"])
    yield _disk(settings)


def _keys(settings: Settings) -> Iterator[Finding]:
    """Keys and token keys as the server reads them; without any, those of `./just serve`."""
    where = "the settings"
    if not settings.api_keys.get_secret_value() and OWN.is_file():
        own = SecretStr(OWN.read_text(encoding="utf-8"))
        settings, where = replace(settings, api_keys=own), f"{OWN}, which `./just serve` uses"
    try:
        callers = Callers.from_settings(settings)
    except RecordsError as error:
        todo = "`python -m ops keys new NAME` prints a key and its record; docs/settings.md"
        for problem in error.problems:
            yield failed("keys", problem, todo)
    else:
        yield ok("keys", f"{len(callers)} in {where}")


def _weights(settings: Settings, model: str) -> Finding:
    check, folder = f"weights of {model}", settings.weights_dir.expanduser() / model
    get = f"`python -m ops weights get {model}`"
    if model in load_catalogue():
        store = Store(folder.parent, load_catalogue(), lambda _: None)
        if not folder.is_dir():
            return failed(check, f"{folder} does not exist", get)
        problems = store.problems(model)
        todo = f"move {folder} away and run {get}"
        return failed(check, "; ".join(problems), todo) if problems else ok(check, str(folder))
    if missing := [name for name in WEIGHT_FILES if not os.access(folder / name, os.R_OK)]:
        todo = "put a model in CTranslate2's form there, or name another one in SUSSURRO_MODELS"
        return failed(check, f"{folder} lacks {', '.join(missing)}", todo)
    return ok(check, f"{folder}, not in the catalogue")


def _engine(settings: Settings, model: str, chosen: list[Choice]) -> Finding:
    """What the server would choose, and whether a GPU lies idle."""
    check = f"engine of {model}"
    try:
        choice = choose(
            model,
            settings.engine,
            engines=settings.engines_dir.expanduser(),
            weights=settings.weights_dir.expanduser() / model,
            running=partial(here, settings.gpus[0]),
            on_cluster_gpus=settings.ray_gpus > 0,
        )
    except EngineError as error:
        return failed(check, str(error), "the message says it; docs/engines.md has more")
    chosen.append(choice)
    found = f"{choice.engine}, build {choice.build}: {choice.why}"
    if choice.why in {"asked for", "a GPU and a matching engine", "no GPU"}:
        return ok(check, found)
    return note(check, found, f"to use the GPU: {choice.detail}")


def _memory(on_cpu: Sequence[Choice]) -> Finding:
    free = available_memory_bytes()
    weights = sum((choice.folder / "model.bin").stat().st_size for choice in on_cpu)
    need = MEMORY_BASE_BYTES + MEMORY_FACTOR * weights
    found = f"{free / 2**30:.1f} GiB free, {need / 2**30:.1f} GiB needed (an estimate)"
    if free < need:
        return failed("memory", found, "free memory, raise the limit, or serve a smaller model")
    return ok("memory", found)


def _disk(settings: Settings) -> Finding:
    folder = settings.engines_dir.expanduser()
    weights = settings.weights_dir.expanduser()
    largest = max((_size(weights / model / "model.bin") for model in settings.models), default=0)
    room = shutil.disk_usage(_existing(folder)).free
    found = f"{folder} has room for {room / 1e9:.1f} GB"
    if room < ROOM_FACTOR * largest:
        todo = f"a rebuild takes up to {ROOM_FACTOR * largest / 1e9:.1f} GB: make room for one"
        return note("disk", found, todo)
    return ok("disk", found)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
