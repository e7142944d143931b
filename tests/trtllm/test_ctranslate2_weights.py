import struct
from pathlib import Path

import numpy as np
import pytest
from tiny_ctranslate2 import LAYERS, VOCABULARY, WIDTH

from engine_build import ctranslate2_weights as weights
from engine_build.dims import ModelDimensions
from engine_build.errors import CheckpointError


def test_shapes_tell_the_dimensions(tiny_dir: Path) -> None:
    """openai-whisper's dimensions are read off the tensors."""
    expected = ModelDimensions(4, 10, WIDTH, 2, LAYERS, VOCABULARY, 6, WIDTH, 2, LAYERS)
    assert expected == weights.dimensions(weights.read_variables(tiny_dir / "model.bin"))


def test_fused_projections_are_cut_apart_bit_by_bit(tiny_dir: Path) -> None:
    """Query, key and value joined again are the stored tensor; keys have no bias."""
    variables = weights.read_variables(tiny_dir / "model.bin")
    state = weights.state_dict(variables)
    parts = [state[f"decoder.blocks.1.attn.{part}.weight"] for part in ("query", "key", "value")]
    stored = variables["decoder/layer_1/self_attention/linear_0/weight"]
    assert stored.tobytes() == np.concatenate(parts).tobytes()
    cross = [state[f"decoder.blocks.0.cross_attn.{part}.weight"] for part in ("key", "value")]
    stored = variables["decoder/layer_0/attention/linear_1/weight"]
    assert stored.tobytes() == np.concatenate(cross).tobytes()
    assert not [name for name in state if name.endswith("key.bias")]


def test_every_number_but_the_keys_bias_is_kept(tiny_dir: Path) -> None:
    """Nothing is lost or said twice on the way."""
    variables = weights.read_variables(tiny_dir / "model.bin")
    stored = sum(value.size for value in variables.values() if value.ndim)
    keys = 3 * LAYERS * WIDTH  # one bias for each self- and cross-attention
    state = weights.state_dict(variables)
    assert stored - keys == sum(value.size for value in state.values())


@pytest.mark.parametrize("kept", [0, 3, 30, 5000])
def test_a_file_cut_short_is_refused(tiny_dir: Path, kept: int) -> None:
    """Half a model is no model."""
    path = tiny_dir / "model.bin"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="cut short"):
        weights.read_variables(path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    """A version or a model that is not known is named."""
    path = tmp_path / "model.bin"
    path.write_bytes(struct.pack("<I", 3))
    with pytest.raises(CheckpointError, match="version 3"):
        weights.read_variables(path)
    path.write_bytes(struct.pack("<IH", 6, 9) + b"BertSpec\0")
    with pytest.raises(CheckpointError, match="BertSpec is no Whisper"):
        weights.read_variables(path)


def test_quantised_or_unknown_tensors_are_refused() -> None:
    """What cannot be kept bit by bit is not converted."""
    numbers = np.zeros((2, 2), np.int8)
    with pytest.raises(CheckpointError, match="quantised"):
        weights.state_dict({"encoder/conv1/weight_scale": numbers})
    with pytest.raises(CheckpointError, match="unknown tensor encoder/conv9/weight"):
        weights.state_dict({"encoder/conv9/weight": numbers})
    with pytest.raises(CheckpointError, match="position_encodings/encodings' is missing"):
        weights.dimensions({"encoder/conv1/weight": numbers})
