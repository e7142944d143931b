"""The gate of a GPU's engine: the server's own way to open it, and the reference to judge it by.

Knows: which reference there is, how the server opens an engine.
Must not know: how either works.
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from engine_build import checkpoint
from engine_build.build import Gate
from engine_build.errors import GateError
from engine_build.reference import Reference, best, refer
from engine_build.verify import Limits, Say
from server.engines.base import Engine
from server.engines.manifest import GateResult
from server.errors import EngineError


def gpu_gate(model: str, weights: Path, reference: Path, clips: Path, say: Say) -> Gate:
    """A gate that compares the built engine with openai-whisper or CTranslate2 on the same weights.

    Args:
        model: the full name.
        weights: what the engine is built from, a `.pt` or a CTranslate2 folder.
        reference: a CTranslate2 folder with the same weights in float16 or float32.
        clips: a table of clips (`golden.py`).
        say: told what is being done.

    Raises:
        GateError: the reference has other weights.
    """
    if weights != reference:
        say(f"comparing the weights of {reference} with {weights}")
        _check_same(weights, reference)

    def judge(folder: Path) -> GateResult:
        heard = refer(reference, clips, say, best())
        say("the engine, as the server opens it")
        return heard.judge(_open(model, folder, heard), Limits(), say)

    return judge


def _check_same(weights: Path, reference: Path) -> None:
    one, other = checkpoint.read(weights), checkpoint.read(reference)
    for name, tensor in one.tensors.items():
        found = other.tensors.get(name)
        if found is None or not np.array_equal(tensor, found):
            raise GateError(f"{reference} does not hold the weights of {weights}: {name} differs")


def _open(model: str, folder: Path, reference: Reference) -> Engine:
    """The engine as the server opens it, though it has not passed the gate yet."""
    # By name: whoever only converts or plans has no PyTorch.
    loader: Any = importlib.import_module("server.engines.tensorrt_llm")
    try:
        engine: Engine = loader.load(model, folder, reference.tokenizer, gated=False)
    except EngineError as error:
        raise GateError(f"the server cannot open the engine: {error}") from error
    return engine
