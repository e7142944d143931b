"""From weights to a published engine: the story of a build.

Knows: the order of the steps, and what is on disk after each.
Must not know: the command line.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine_build import checkpoint, compile, manifest, weights  # noqa: A004  the step's name
from engine_build.convert import convert
from engine_build.device import check_device, installed_versions
from engine_build.errors import BuildError
from engine_build.plan import Plan
from server.engines.manifest import GateResult, Manifest

Say = Callable[[str], None]
Gate = Callable[[Path], GateResult]
"""Loads the engine in a folder and passes it, or raises GateError."""

TOKENIZER = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the weights come from: `path` None is the official place, kept in `cache`.

    `pinned` is the SHA-256 that the caller vouches for, of weights that are not official.
    """

    cache: Path
    path: Path | None = None
    pinned: str | None = None
    tokenizer: Path | None = None


def get_weights(model: str, source: Source, say: Say) -> Path:
    """The checked weights: a `.pt`, or a CTranslate2 folder.

    Raises:
        WeightsError: they cannot be had, or are others than the pinned ones.
    """
    if source.path is None:
        return weights.fetch(model, source.cache, say)
    return weights.local(model, source.path, source.pinned)


def convert_only(plan: Plan, source: Source, out: Path, say: Say) -> None:
    """TensorRT-LLM checkpoints in `out`; nothing else is needed, no GPU either.

    Raises:
        BuildError: the weights are not what they should be, or `out` is there already.
    """
    with _Work(out, say) as work:
        _convert(plan, get_weights(plan.model, source, say), work, say)
        os.rename(work, out)  # noqa: PTH104  fails where Path.replace would swallow a folder


def build(plan: Plan, source: Source, out: Path, say: Say, gate: Gate | None = None) -> Manifest:
    """A complete engine in `out`, which appears at once or not at all.

    Without a `gate` the manifest says that none has passed it; no server loads it then.

    Raises:
        BuildError: a step failed; `out` was not touched.
    """
    device, versions = check_device(plan.gpu), installed_versions()
    with _Work(out, say) as work:
        path = get_weights(plan.model, source, say)
        sha256 = _convert(plan, path, work / "checkpoint", say)
        engine = work / "engine"
        compile.compile_engines(plan, work / "checkpoint", engine, say)
        tokenizer = source.tokenizer or (path / TOKENIZER if path.is_dir() else None)
        if tokenizer is not None:
            shutil.copyfile(tokenizer, engine / TOKENIZER)
        result = gate(engine) if gate else None
        say("passed the gate" if result else "not verified: no gate was run on this engine")
        written = manifest.write(
            engine, plan, device, versions=versions, weights_sha256=sha256, gate=result
        )
        os.rename(engine, out)  # noqa: PTH104  as above
    say(f"{plan.model} for {plan.gpu.key}: {out}")
    return written


def _convert(plan: Plan, path: Path, out: Path, say: Say) -> str:
    found = checkpoint.read(path)
    if found.dims != plan.dims:
        raise BuildError(f"{path} is not {plan.model}: its dimensions are {found.dims.as_dict()}")
    say(f"converting {path.name}")
    convert(found, out)
    return found.sha256


class _Work:
    """A folder beside `out` to work in, on the same disk, gone afterwards."""

    def __init__(self, out: Path, say: Say) -> None:
        self._out = out
        self._say = say
        self._folder: Path | None = None

    def __enter__(self) -> Path:
        if self._out.exists():
            raise BuildError(f"{self._out} is there already; choose another folder")
        self._out.parent.mkdir(parents=True, exist_ok=True)
        name = tempfile.mkdtemp(prefix=f".{self._out.name}.", dir=self._out.parent)
        self._folder = Path(name)
        self._folder.chmod(0o755)
        return self._folder

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            for folder in self._folder.rglob("*/"):  # read-only ones cannot be emptied
                folder.chmod(0o755)
            shutil.rmtree(self._folder, ignore_errors=True)
