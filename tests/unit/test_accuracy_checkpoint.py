import dataclasses
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ctranslate2.specs import WhisperSpec

from ops.accuracy import checkpoint

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


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """A tiny Whisper, written by CTranslate2 itself."""
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
    spec._serialize(str(tmp_path / "model.bin"))
    return tmp_path


def test_shapes_tell_the_dimensions(model_dir: Path) -> None:
    """openai-whisper's dimensions are read off the tensors."""
    expected = {
        "n_mels": 4,
        "n_audio_ctx": 10,
        "n_audio_state": WIDTH,
        "n_audio_head": 2,
        "n_audio_layer": LAYERS,
        "n_vocab": VOCABULARY,
        "n_text_ctx": 6,
        "n_text_state": WIDTH,
        "n_text_head": 2,
        "n_text_layer": LAYERS,
    }
    variables = checkpoint.read_variables(model_dir / "model.bin")
    assert expected == checkpoint.dimensions(variables)


def test_fused_projections_are_cut_apart_bit_by_bit(model_dir: Path) -> None:
    """Query, key and value joined again are the stored tensor; keys have no bias."""
    variables = checkpoint.read_variables(model_dir / "model.bin")
    state = checkpoint.state_dict(variables)
    parts = [state[f"decoder.blocks.1.attn.{part}.weight"] for part in ("query", "key", "value")]
    stored = variables["decoder/layer_1/self_attention/linear_0/weight"]
    assert stored.tobytes() == np.concatenate(parts).tobytes()
    cross = [state[f"decoder.blocks.0.cross_attn.{part}.weight"] for part in ("key", "value")]
    stored = variables["decoder/layer_0/attention/linear_1/weight"]
    assert stored.tobytes() == np.concatenate(cross).tobytes()
    assert not [name for name in state if name.endswith("key.bias")]


def test_every_number_but_the_keys_bias_is_kept(model_dir: Path) -> None:
    """Nothing is lost or said twice on the way."""
    variables = checkpoint.read_variables(model_dir / "model.bin")
    stored = sum(value.size for value in variables.values() if value.ndim)
    keys = 3 * LAYERS * WIDTH  # one bias for each self- and cross-attention
    state = checkpoint.state_dict(variables)
    assert stored - keys == sum(value.size for value in state.values())


def test_openai_whisper_accepts_every_name(model_dir: Path) -> None:
    """The checkpoint loads strictly: no tensor missing, none too many, all shapes right."""
    torch = pytest.importorskip("torch")
    model = pytest.importorskip("whisper.model")
    path = model_dir / "checkpoints" / "tiny.pt"
    checkpoint.convert(model_dir, path)
    saved = torch.load(path, weights_only=True)
    whisper = model.Whisper(model.ModelDimensions(**saved["dims"]))
    whisper.load_state_dict(saved["model_state_dict"], strict=True)
    assert saved["dims"] == dataclasses.asdict(whisper.dims)
    assert [path] == list(path.parent.iterdir())


@pytest.mark.parametrize("kept", [0, 3, 30, 5000])
def test_a_file_cut_short_is_refused(model_dir: Path, kept: int) -> None:
    """Half a model is no model."""
    path = model_dir / "model.bin"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(checkpoint.CheckpointError, match="cut short"):
        checkpoint.read_variables(path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    """A version or a model that is not known is named."""
    path = tmp_path / "model.bin"
    path.write_bytes(struct.pack("<I", 3))
    with pytest.raises(checkpoint.CheckpointError, match="version 3"):
        checkpoint.read_variables(path)
    path.write_bytes(struct.pack("<IH", 6, 9) + b"BertSpec\0")
    with pytest.raises(checkpoint.CheckpointError, match="BertSpec is no Whisper"):
        checkpoint.read_variables(path)


def test_quantised_or_unknown_tensors_are_refused() -> None:
    """What cannot be kept bit by bit is not converted."""
    weights = np.zeros((2, 2), np.int8)
    with pytest.raises(checkpoint.CheckpointError, match="quantised"):
        checkpoint.state_dict({"encoder/conv1/weight_scale": weights})
    with pytest.raises(checkpoint.CheckpointError, match="unknown tensor encoder/conv9/weight"):
        checkpoint.state_dict({"encoder/conv9/weight": weights})


def test_alignment_heads_come_from_the_configuration(tmp_path: Path) -> None:
    """The pairs are handed on as they stand."""
    (tmp_path / "config.json").write_text('{"alignment_heads": [[3, 1], [5, 6]]}')
    assert checkpoint.alignment_heads(tmp_path) == [(3, 1), (5, 6)]
