"""A tiny Whisper with random weights, written by CTranslate2 itself."""

from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import WhisperSpec

WIDTH, VOCABULARY, LAYERS = 8, 20, 2
SHAPES = {
    "conv1/weight": (WIDTH, 4, 3),
    "conv2/weight": (WIDTH, WIDTH, 3),
    "self_attention/linear_0/weight": (3 * WIDTH, WIDTH),
    "self_attention/linear_0/bias": (3 * WIDTH,),
    "/attention/linear_1/weight": (2 * WIDTH, WIDTH),
    "/attention/linear_1/bias": (2 * WIDTH,),
    "ffn/linear_0/weight": (4 * WIDTH, WIDTH),
    "ffn/linear_0/bias": (4 * WIDTH,),
    "ffn/linear_1/weight": (WIDTH, 4 * WIDTH),
    "embeddings/weight": (VOCABULARY, WIDTH),
}


def fill(part: Any, name: str, rng: np.random.Generator) -> None:
    """Random numbers for every tensor below `part`, float16."""
    for field, value in list(vars(part).items()):
        path = f"{name}/{field}".lstrip("/")
        if field == "projection":  # shares the embeddings, and has no bias
            continue
        if isinstance(value, list):
            for index, item in enumerate(value):
                fill(item, f"{path}_{index}", rng)
        elif hasattr(value, "__dict__"):
            fill(value, path, rng)
        elif field in {"weight", "bias", "gamma", "beta"}:
            tail = [shape for ending, shape in SHAPES.items() if path.endswith(ending)]
            shape = (
                max(tail, key=len) if tail else ((WIDTH, WIDTH) if field == "weight" else (WIDTH,))
            )
            setattr(part, field, rng.standard_normal(shape).astype(np.float16))


def write_tiny(folder: Path) -> Path:
    """`folder` with `model.bin` in it."""
    spec = WhisperSpec(LAYERS, 2, LAYERS, 2)
    rng = np.random.default_rng(0)
    fill(spec, "", rng)
    for tower, length in ((spec.encoder, 10), (spec.decoder, 6)):
        numbers = rng.standard_normal((length, WIDTH)).astype(np.float16)
        tower.position_encodings.encodings = numbers
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    spec.register_vocabulary([str(number) for number in range(VOCABULARY)])
    spec.validate()
    spec.optimize(quantization="float16")
    spec._serialize(str(folder / "model.bin"))
    return folder
