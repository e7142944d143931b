"""From weights to a published engine: the story of a build for a GPU.

Knows: the order of the steps, and what is on disk after each.
Must not know: the command line.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from engine_build import checkpoint, compile, manifest, weights  # noqa: A004  the step's name
from engine_build.convert import convert
from engine_build.device import check_device, installed_versions
from engine_build.errors import BuildError, GateError
from engine_build.plan import Plan
from engine_build.work import Say, move, remove, work_for
from server.engines.manifest import GateResult, Manifest

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
    say(f"checking the SHA-256 of {source.path}")
    return weights.local(model, source.path, source.pinned)


def convert_only(plan: Plan, source: Source, out: Path, say: Say) -> None:
    """TensorRT-LLM checkpoints in `out`; nothing else is needed, no GPU either.

    Raises:
        BuildError: the weights are not what they should be, or `out` is there already.
    """
    path = get_weights(plan.model, source, say)
    sha256 = checkpoint.sha256_of(checkpoint.weights_file(path))
    with work_for(out, plan.model, _key(plan, sha256, "checkpoint"), say) as work:
        done = work.step("checkpoint", partial(_convert, plan, path, say=say))
        os.rename(done, out)  # noqa: PTH104  fails where Path.replace would swallow a folder
        remove(work.path)


def build(plan: Plan, source: Source, out: Path, say: Say, gate: Gate) -> Manifest:
    """A complete engine in `out`, which appears at once or not at all.

    Interrupted, it is resumed by the next call for the same plan, weights and versions.

    Raises:
        BuildError: a step failed; `out` was not touched.
    """
    device, versions = check_device(plan.gpu), installed_versions()
    path = get_weights(plan.model, source, say)
    tokenizer = source.tokenizer or path / TOKENIZER
    if not tokenizer.is_file():
        raise BuildError("an engine needs the vocabulary of its weights: --tokenizer")
    sha256 = checkpoint.sha256_of(checkpoint.weights_file(path))
    with work_for(out, plan.model, _key(plan, sha256, *versions.items()), say) as work:
        converted = work.step("checkpoint", partial(_convert, plan, path, say=say))
        engine = work.path / "engine"
        compile.compile_engines(plan, converted, engine, say)
        (engine / TOKENIZER).unlink(missing_ok=True)  # read-only, after a kill at the very end
        shutil.copyfile(tokenizer, engine / TOKENIZER)
        describe = partial(
            manifest.write, engine, plan, device, versions=versions, weights_sha256=sha256
        )
        describe(gate=None)  # whoever opens the engine to judge it needs to know what it is
        say("judging the engine by the reference clips")
        try:
            result = gate(engine)
        except GateError:
            remove(work.path)
            raise
        say("passed the gate")
        written = describe(gate=result)
        manifest.protect(engine)
        move(engine, out)
        remove(work.path)
    say(f"{plan.model} for {plan.gpu.key}: {out}")
    return written


def _key(plan: Plan, *more: object) -> str:
    """All that a build depends on."""
    return json.dumps([asdict(plan), compile.flags(plan), more], default=str)


def _convert(plan: Plan, path: Path, out: Path, *, say: Say) -> None:
    found = checkpoint.read(path)
    if found.dims != plan.dims:
        raise BuildError(f"{path} is not {plan.model}: its dimensions are {found.dims.as_dict()}")
    say(f"converting {path.name} to TensorRT-LLM's checkpoints")
    convert(found, out, say)
