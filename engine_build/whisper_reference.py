"""What openai-whisper itself hears in the reference clips, in float32 on the CPU.

Knows: openai-whisper and PyTorch; imported only where both are installed (`reference.best`).
Must not know: who is judged by it.

On the CPU: no kernel rounds there as one of the GPU's might, and the card's memory is the engine's.
"""

from pathlib import Path

import torch
import whisper

from engine_build.golden import read_golden
from engine_build.reference import Hearing
from engine_build.verify import Heard, Say
from server.engines.word_aligner import whisper_model


def hear(weights: Path, clips: Path, say: Say) -> Hearing:
    """Each clip alone, greedily and with timestamps, as `verify.listen` asks an engine.

    Args:
        weights: a CTranslate2 folder in float16 or float32.
        clips: a table of clips (`golden.py`).
        say: told of each clip before it is heard.

    Raises:
        EngineError: the weights cannot be read.
        GateError: the clips cannot be read.
    """
    model = whisper_model(weights, "cpu")
    windows = read_golden(clips, model.dims.n_mels)
    heard = {}
    for number, window in enumerate(windows, start=1):
        say(f"  clip {number} of {len(windows)}: {window.name}")
        options = whisper.DecodingOptions(language=window.language, temperature=0.0, fp16=False)
        found = whisper.decode(model, torch.from_numpy(window.features), options)
        heard[window.name] = Heard(tuple(found.tokens), found.text.strip(), found.avg_logprob)
    return windows, heard
