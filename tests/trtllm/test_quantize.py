import json
from pathlib import Path

import numpy as np
import pytest
from random_whisper import TINY, random_checkpoint, save_pt
from tiny_ctranslate2 import VOCABULARY

from engine_build.ctranslate2_weights import read_variables
from engine_build.errors import CheckpointError, GateError
from engine_build.gpu_gate import gpu_gate
from engine_build.quantize import quantize


@pytest.fixture
def source(tiny_dir: Path) -> Path:
    """A tiny model with all files that lie beside one."""
    tokens = [str(number) for number in range(VOCABULARY)]
    (tiny_dir / "vocabulary.json").write_text(json.dumps(tokens))
    (tiny_dir / "config.json").write_text('{"lang_ids": [7]}')
    (tiny_dir / "tokenizer.json").write_text("{}")
    return tiny_dir


def converted(source: Path, out: Path, *arguments: str) -> Path:
    out.mkdir()
    quantize(source, out, *arguments)  # type: ignore[arg-type]
    return out


def test_a_wider_type_keeps_every_number(source: Path, tmp_path: Path) -> None:
    """Float16 fits into float32; the files beside go along as they are."""
    out = converted(source, tmp_path / "out", "float32")
    before, after = (read_variables(folder / "model.bin") for folder in (source, out))
    for name, value in before.items():
        assert (value == after[name]).all(), name
    assert np.float32 == after["encoder/conv1/weight"].dtype
    assert {"lang_ids": [7]} == json.loads((out / "config.json").read_text())
    names = {"model.bin", "config.json", "tokenizer.json", "vocabulary.json"}
    assert names == {path.name for path in out.iterdir()}


def test_int8_is_what_it_says(source: Path, tmp_path: Path) -> None:
    """Matrices at most half of 127 steps of a row away, norms as they were."""
    out = converted(source, tmp_path / "out", "int8")
    before, after = (read_variables(folder / "model.bin") for folder in (source, out))
    name = "decoder/layer_0/ffn/linear_0/weight"
    scale = after[f"{name}_scale"][:, None]
    assert np.int8 == after[name].dtype
    assert np.abs(after[name] / scale - before[name].astype(np.float32)).max() <= 0.51 / scale.min()
    assert (before["decoder/layer_norm/gamma"] == after["decoder/layer_norm/gamma"]).all()


def test_what_is_quantised_cannot_be_converted(source: Path, tmp_path: Path) -> None:
    """Rounding twice would be worse than either."""
    once = converted(source, tmp_path / "once", "int8")
    with pytest.raises(CheckpointError, match="quantised already; float16 or float32 is needed"):
        converted(once, tmp_path / "twice", "int8_float32")


def test_half_a_model_is_refused(source: Path, tmp_path: Path) -> None:
    """Cut short, without its tokens, or with too few of them."""
    content = (source / "model.bin").read_bytes()
    (source / "vocabulary.json").write_text('["one"]')
    with pytest.raises(CheckpointError, match="is no whole Whisper"):
        converted(source, tmp_path / "few", "int8")
    (source / "vocabulary.json").unlink()
    with pytest.raises(CheckpointError, match=r"no vocabulary\.json and no vocabulary\.txt"):
        converted(source, tmp_path / "none", "int8")
    (source / "model.bin").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="cut short or damaged"):
        converted(source, tmp_path / "half", "int8")


@pytest.mark.model
def test_real_weights_are_the_same_afterwards(weights_dir: Path, tmp_path: Path) -> None:
    """All tensors of Whisper base, read and written again, bit by bit."""
    out = converted(weights_dir / "base", tmp_path / "out", "float16")
    before, after = (read_variables(f / "model.bin") for f in (weights_dir / "base", out))
    assert 200 < len(before)
    for name, value in before.items():
        assert value.dtype == after[name].dtype
        assert (value == after[name]).all(), name


def test_a_reference_with_other_weights_is_refused(source: Path, tmp_path: Path) -> None:
    """It would judge another model."""
    other = save_pt(tmp_path / "other.pt", random_checkpoint(TINY))
    with pytest.raises(GateError, match=r"does not hold the weights of .*other\.pt"):
        gpu_gate("tiny", other, source, Path("clips.tsv"), lambda _: None)
