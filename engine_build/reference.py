"""What a trusted engine hears in the reference clips: CTranslate2 in float32, on the same weights.

Knows: how to open it, and how to judge another engine by it.
Must not know: what that other engine is.

CTranslate2 in float32 decodes as openai-whisper does (tests/oracle), and needs no PyTorch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine_build.errors import GateError
from engine_build.golden import GoldenWindow, read_golden
from engine_build.verify import Heard, Limits, Say, gate, listen
from server.decoding.tokenizer import Tokenizer
from server.engines import ctranslate2
from server.engines.base import Engine
from server.engines.manifest import GateResult
from server.errors import ServerError

CLIPS = Path(__file__).parent / "clips" / "manifest.tsv"
"""The clips that come with the project."""

CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Reference:
    """The clips, and what the weights make of them when nothing is rounded."""

    tokenizer: Tokenizer
    windows: Sequence[GoldenWindow]
    heard: Mapping[str, Heard]

    def judge(self, engine: Engine, limits: Limits, say: Say) -> GateResult:
        """What was measured, if the engine may be published; closes the engine.

        Raises:
            GateError: it may not.
        """
        try:
            return gate(engine, self.heard, self.tokenizer, self.windows, limits, say)
        finally:
            engine.close(CLOSE_SECONDS)


def refer(weights: Path, clips: Path, say: Say) -> Reference:
    """Let CTranslate2 hear the clips in float32.

    Args:
        weights: a CTranslate2 folder in float16 or float32.
        clips: a table of clips (`golden.py`).
        say: told of each clip.

    Raises:
        GateError: the weights or the clips cannot be used.
    """
    try:
        tokenizer = Tokenizer.load(weights / "tokenizer.json")
        engine = ctranslate2.load(
            weights.name, weights, compute_type="float32", workers=0, threads=1,
            max_batch_size=1, encoder="ctranslate2",
        )  # fmt: skip
    except (ServerError, OSError, ValueError, KeyError) as error:
        raise GateError(f"{weights} cannot serve as the reference: {error}") from error
    try:
        windows = read_golden(clips, engine.info.n_mels)
        say("the reference: CTranslate2 in float32 on the same weights")
        heard = listen(engine, tokenizer, windows, say)
    finally:
        engine.close(CLOSE_SECONDS)
    return Reference(tokenizer, windows, heard)
