"""CTranslate2's own conversion of a Whisper from float16 or float32 to another quantization.

Knows: CTranslate2's specification of Whisper, and the files beside a model.
Must not know: why, or what becomes of the result.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from ctranslate2.specs import WhisperSpec, model_spec

from engine_build.ctranslate2_weights import dimensions, read_variables
from engine_build.errors import CheckpointError

Quantization: TypeAlias = Literal["int8", "int8_float32", "int8_float16", "float16", "float32"]
"""CTranslate2's names, those that make sense on a CPU. All but the last two keep their large
matrices in int8; what follows is the type of the rest, and without it that stays as it was."""

QUANTIZATIONS: tuple[Quantization, ...] = get_args(Quantization)

BESIDE = ("config.json", "tokenizer.json", "preprocessor_config.json")
"""Files that go along unchanged, where they are there."""


def quantize(
    source: Path,
    out: Path,
    quantization: Quantization,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Write the model of the folder `source` into the folder `out`; `say` is told the steps.

    Raises:
        CheckpointError: the source is no whole Whisper, or is quantised already.
    """
    say("  reading")
    variables = read_variables(source / "model.bin")
    if any(name.endswith("_scale") for name in variables):
        raise CheckpointError(f"{source} is quantised already; float16 or float32 is needed")
    dims = dimensions(variables)
    spec = WhisperSpec(dims.n_audio_layer, dims.n_audio_head, dims.n_text_layer, dims.n_text_head)
    try:
        for name, value in variables.items():
            place, _, attribute = name.rpartition("/")
            setattr(model_spec.index_spec(spec, place), attribute, value)
        # In the file it is an alias of the embeddings.
        spec.decoder.projection.weight = spec.decoder.embeddings.weight
        spec.register_vocabulary(_vocabulary(source))
        spec.validate()
        say(f"  rounding {len(variables)} tensors")
        spec.optimize(quantization=quantization)
        say("  writing")
        spec.save(str(out))
    except (AttributeError, IndexError, ValueError) as error:
        raise CheckpointError(f"{source} is no whole Whisper: {error}") from error
    for name in BESIDE:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)  # over CTranslate2's own, without its fields


def _vocabulary(source: Path) -> list[str]:
    """The tokens in order, from either form of CTranslate2's file."""
    try:
        tokens: list[str] = json.loads((source / "vocabulary.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        try:
            text = (source / "vocabulary.txt").read_text(encoding="utf-8")
        except FileNotFoundError:
            raise CheckpointError(
                f"{source} has no vocabulary.json and no vocabulary.txt"
            ) from None
        tokens = text.removesuffix("\n").split("\n")
    return tokens
