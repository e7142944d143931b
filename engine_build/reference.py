"""What the weights make of the reference clips when nothing is rounded, heard by a trusted engine.

Knows: how to open it, and how to judge another engine by it.
Must not know: what that other engine is.

Engines for GPUs are judged by openai-whisper itself where it is installed, as in the images for
GPUs. Everything else is judged by CTranslate2 in float32, which decodes as openai-whisper does
(tests/oracle) and needs no PyTorch.
"""

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from engine_build.errors import GateError
from engine_build.golden import GoldenWindow, read_golden
from engine_build.verify import Heard, Limits, Say, gate, listen
from server.decoding.tokenizer import Tokenizer
from server.engines import ctranslate2
from server.engines.base import Engine
from server.engines.manifest import GateResult, ReferenceName
from server.errors import ServerError

CLIPS = Path(__file__).parent / "clips" / "manifest.tsv"
"""The clips that come with the project."""

CLOSE_SECONDS = 5.0

Hearing: TypeAlias = tuple[Sequence[GoldenWindow], Mapping[str, Heard]]
"""The clips that fit into a window, and what was heard in them."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The clips, and what the weights make of them when nothing is rounded; `name` says by what."""

    name: ReferenceName
    tokenizer: Tokenizer
    windows: Sequence[GoldenWindow]
    heard: Mapping[str, Heard]

    def judge(self, engine: Engine, limits: Limits, say: Say) -> GateResult:
        """What was measured, if the engine may be published; closes the engine.

        Raises:
            GateError: it may not.
        """
        try:
            result = gate(engine, self.heard, self.tokenizer, self.windows, limits, say)
        finally:
            engine.close(CLOSE_SECONDS)
        return replace(result, reference=self.name)


def refer(weights: Path, clips: Path, say: Say, by: ReferenceName = "ctranslate2") -> Reference:
    """Let a trusted engine hear the clips.

    Args:
        weights: a CTranslate2 folder in float16 or float32.
        clips: a table of clips (`golden.py`).
        say: told of each clip.
        by: the engine; `best` says which one can be had.

    Raises:
        GateError: the weights or the clips cannot be used.
    """
    say(f"the reference: {by} in float32 on the same weights")
    try:
        tokenizer = Tokenizer.load(weights / "tokenizer.json")
        if by == "ctranslate2":
            windows, heard = _ctranslate2_hears(weights, tokenizer, clips, say)
        else:
            # By name: whoever only converts or plans has no PyTorch.
            module = importlib.import_module("engine_build.whisper_reference")
            windows, heard = module.hear(weights, clips, say)
    except (ServerError, OSError, ValueError, KeyError) as error:
        raise GateError(f"{weights} cannot serve as the reference: {error}") from error
    return Reference(by, tokenizer, windows, heard)


def best() -> ReferenceName:
    """openai-whisper where it and PyTorch are installed, else CTranslate2."""
    installed = all(importlib.util.find_spec(name) for name in ("torch", "whisper"))
    return "openai-whisper" if installed else "ctranslate2"


def _ctranslate2_hears(weights: Path, tokenizer: Tokenizer, clips: Path, say: Say) -> Hearing:
    engine = ctranslate2.load(
        weights.name, weights, compute_type="float32", workers=0, threads=1,
        max_batch_size=1, encoder="ctranslate2",
    )  # fmt: skip
    try:
        windows = read_golden(clips, engine.info.n_mels)
        return windows, listen(engine, tokenizer, windows, say)
    finally:
        engine.close(CLOSE_SECONDS)
