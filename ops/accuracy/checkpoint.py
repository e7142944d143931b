"""CTranslate2's Whisper weights as an openai-whisper checkpoint, so that peers share weights.

Knows: the form of openai-whisper's checkpoint file.
Must not know: how tensors are named or stored (`engine_build`), who transcribes with them.
Nothing is computed: every tensor keeps its bits.
"""

import json
from pathlib import Path

from engine_build import ctranslate2_weights, errors
from ops.accuracy.options import AccuracyError


class CheckpointError(AccuracyError):
    """The weights are not a whole, unquantised Whisper in CTranslate2's format."""


def alignment_heads(model_dir: Path) -> list[tuple[int, int]]:
    """The (layer, head) pairs that follow time, from the model's `config.json`."""
    config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
    return [(layer, head) for layer, head in config["alignment_heads"]]


def convert(model_dir: Path, path: Path) -> None:
    """Write the folder's CTranslate2 model as an openai-whisper checkpoint.

    Raises:
        CheckpointError: the weights are damaged or quantised.
    """
    import torch  # noqa: PLC0415  torch is an extra: only the one who converts needs it

    try:
        variables = ctranslate2_weights.read_variables(model_dir / "model.bin")
        tensors = ctranslate2_weights.state_dict(variables)
        dims = ctranslate2_weights.dimensions(variables)
    except errors.CheckpointError as error:
        raise CheckpointError(str(error)) from error
    state = {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    torch.save({"dims": dims.as_dict(), "model_state_dict": state}, partial)
    partial.replace(path)
