import numpy as np
import pytest
from random_whisper import TINY, random_checkpoint

from engine_build.dims import SIZES, ModelDimensions, check_tensors, expected_shapes
from engine_build.errors import CheckpointError


@pytest.mark.parametrize(
    ("model", "parameters", "languages"),
    [
        ("tiny", 37_184_640, 99),
        ("base", 71_825_920, 99),
        ("small", 240_582_912, 99),
        ("medium", 762_321_920, 99),
        ("large-v2", 1_541_384_960, 99),
        ("large-v3", 1_541_570_560, 100),
        ("large-v3-turbo", 806_958_080, 100),
    ],
)
def test_the_official_sizes(model: str, parameters: int, languages: int) -> None:
    """As many learned numbers as the models are known for, and their languages."""
    dims = SIZES[model]
    learned = dict(expected_shapes(dims))
    del learned["encoder.positional_embedding"]  # computed, not learned
    assert parameters == sum(int(np.prod(shape)) for shape in learned.values())
    assert languages == dims.num_languages
    assert dims.is_multilingual


def test_dimensions_are_checked() -> None:
    """They come out of a file, so they may be anything."""
    right = TINY.as_dict()
    assert TINY == ModelDimensions.of(right)
    with pytest.raises(CheckpointError, match="not Whisper's: n_mels"):
        ModelDimensions.of({name: size for name, size in right.items() if name != "n_mels"})
    with pytest.raises(CheckpointError, match="not Whisper's: n_ears"):
        ModelDimensions.of(right | {"n_ears": 2})
    for wrong in (0, -1, "8", 1.5, None):
        with pytest.raises(CheckpointError, match="positive numbers"):
            ModelDimensions.of(right | {"n_mels": wrong})


def test_a_whole_whisper_passes() -> None:
    """Both types of numbers that a Whisper may have."""
    for dtype in (np.float16, np.float32):
        check_tensors(TINY, random_checkpoint(TINY, dtype).tensors)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"decoder.ln.bias": None}, r"decoder.ln.bias \(missing\)"),
        ({"decoder.blocks.0.attn.key.bias": np.zeros(8)}, r"attn.key.bias \(unknown\)"),
        ({"decoder.ln.bias": np.zeros(9, np.float16)}, r"decoder.ln.bias is \(9,\), not \(8,\)"),
        ({"decoder.ln.bias": np.zeros(8, np.float64)}, "decoder.ln.bias is float64"),
    ],
)
def test_anything_else_is_refused(change: dict[str, np.ndarray | None], reason: str) -> None:
    """A tensor too few, too many, misshapen or of another type, each by its name."""
    tensors = dict(random_checkpoint(TINY).tensors) | change  # type: ignore[operator]
    whole = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    with pytest.raises(CheckpointError, match=reason):
        check_tensors(TINY, whole)
