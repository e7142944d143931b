import dataclasses
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from random_whisper import TINY, random_checkpoint

from engine_build import checkpoint, convert, safetensors
from engine_build.checkpoint import Checkpoint
from engine_build.dims import SIZES, ModelDimensions, expected_shapes
from engine_build.errors import CheckpointError


def weightless(dims: ModelDimensions) -> Checkpoint:
    """All tensors of a Whisper in their shapes, without memory for their numbers."""
    zero = np.float16(0)
    shapes = expected_shapes(dims)
    return Checkpoint(dims, {n: np.broadcast_to(zero, s) for n, s in shapes.items()}, "0" * 64)


def attention(layer: str, kind: str, width: int) -> dict[str, tuple[int, ...]]:
    """What TensorRT-LLM's `Attention` and its layer norm have."""
    return {
        f"{layer}.{kind}.qkv.weight": (3 * width, width),
        f"{layer}.{kind}.qkv.bias": (3 * width,),
        f"{layer}.{kind}.dense.weight": (width, width),
        f"{layer}.{kind}.dense.bias": (width,),
        f"{layer}.{kind}_layernorm.weight": (width,),
        f"{layer}.{kind}_layernorm.bias": (width,),
    }


def mlp(layer: str, width: int) -> dict[str, tuple[int, ...]]:
    """What TensorRT-LLM's `MLP` and its layer norm have."""
    return {
        f"{layer}.mlp.fc.weight": (4 * width, width),
        f"{layer}.mlp.fc.bias": (4 * width,),
        f"{layer}.mlp.proj.weight": (width, 4 * width),
        f"{layer}.mlp.proj.bias": (width,),
        f"{layer}.mlp_layernorm.weight": (width,),
        f"{layer}.mlp_layernorm.bias": (width,),
    }


def graph(dims: ModelDimensions) -> dict[str, dict[str, tuple[int, ...]]]:
    """The parameters of WhisperEncoder and DecoderModel, as their modules declare them."""
    audio, text = dims.n_audio_state, dims.n_text_state
    encoder: dict[str, tuple[int, ...]] = {
        "transformer.conv1.weight": (audio, dims.n_mels, 3, 1),
        "transformer.conv1.bias": (audio,),
        "transformer.conv2.weight": (audio, audio, 3, 1),
        "transformer.conv2.bias": (audio,),
        "transformer.position_embedding.weight": (dims.n_audio_ctx, audio),
        "transformer.ln_f.weight": (audio,),
        "transformer.ln_f.bias": (audio,),
    }
    for index in range(dims.n_audio_layer):
        layer = f"transformer.layers.{index}"
        encoder |= attention(layer, "attention", audio) | mlp(layer, audio)
    decoder: dict[str, tuple[int, ...]] = {
        "transformer.vocab_embedding.weight": (dims.n_vocab, text),
        "transformer.position_embedding.weight": (dims.n_text_ctx, text),
        "transformer.ln_f.weight": (text,),
        "transformer.ln_f.bias": (text,),
        "lm_head.weight": (dims.n_vocab, text),
    }
    for index in range(dims.n_text_layer):
        layer = f"transformer.layers.{index}"
        decoder |= attention(layer, "self_attention", text)
        decoder |= attention(layer, "cross_attention", text) | mlp(layer, text)
    return {"encoder": encoder, "decoder": decoder}


@pytest.mark.parametrize("model", SIZES)
def test_the_checkpoint_fills_the_graph(model: str) -> None:
    """Each parameter of both modules once, in its shape, and nothing else."""
    source = weightless(SIZES[model])
    for part, tensors in (
        ("encoder", convert.encoder_tensors(source)),
        ("decoder", convert.decoder_tensors(source)),
    ):
        shapes = {
            name: (sum(len(piece) for piece in pieces), *pieces[0].shape[1:])
            for name, pieces in tensors.items()
        }
        assert graph(SIZES[model])[part] == shapes


def test_every_bit_is_where_it_belongs(tmp_path: Path) -> None:
    """The stored tensors are the source's, joined as TensorRT-LLM joins them."""
    source = random_checkpoint(TINY)
    convert.convert(source, tmp_path)
    encoder = safetensors.read(tmp_path / "encoder" / "rank0.safetensors")
    decoder = safetensors.read(tmp_path / "decoder" / "rank0.safetensors")
    old = source.tensors

    def same(expected: np.ndarray, found: np.ndarray) -> None:
        assert (np.float16, expected.tobytes()) == (found.dtype, found.tobytes())

    same(old["encoder.conv1.weight"][..., None], encoder["transformer.conv1.weight"])
    same(old["encoder.ln_post.bias"], encoder["transformer.ln_f.bias"])
    same(old["encoder.blocks.1.mlp.2.weight"], encoder["transformer.layers.1.mlp.proj.weight"])
    same(old["decoder.token_embedding.weight"], decoder["lm_head.weight"])
    same(old["decoder.token_embedding.weight"], decoder["transformer.vocab_embedding.weight"])
    for where, block, found in (
        ("attention", "encoder.blocks.1.attn", encoder),
        ("self_attention", "decoder.blocks.1.attn", decoder),
        ("cross_attention", "decoder.blocks.1.cross_attn", decoder),
    ):
        layer = f"transformer.layers.1.{where}"
        parts = [old[f"{block}.{part}.weight"] for part in ("query", "key", "value")]
        same(np.concatenate(parts), found[f"{layer}.qkv.weight"])
        query, key, value = np.split(found[f"{layer}.qkv.bias"], 3)
        same(old[f"{block}.query.bias"], query)
        same(old[f"{block}.value.bias"], value)
        assert not key.any()
        same(old[f"{block}.out.weight"], found[f"{layer}.dense.weight"])
        same(old[f"{block}_ln.weight"], found[f"{layer}_layernorm.weight"])


def test_nothing_is_lost_on_the_way(tmp_path: Path) -> None:
    """Undoing the conversion gives the source, tensor by tensor."""
    source = random_checkpoint(TINY, np.float32)
    convert.convert(source, tmp_path)
    undone = {}
    for part in ("encoder", "decoder"):
        for name, value in safetensors.read(tmp_path / part / "rank0.safetensors").items():
            undone |= undo(part, name, value)
    assert set(source.tensors) == set(undone)
    for name, tensor in source.tensors.items():
        assert np.array_equal(tensor.astype(np.float16), undone[name]), name


def undo(part: str, name: str, value: np.ndarray) -> dict[str, np.ndarray]:
    """One tensor of TensorRT-LLM as openai-whisper has it."""
    if name == "lm_head.weight":
        return {}
    rest = name.removeprefix("transformer.")
    for theirs, ours in (
        ("layers.", "blocks."),
        ("position_embedding.weight", "positional_embedding"),
        ("vocab_embedding", "token_embedding"),
        ("ln_f", "ln_post" if part == "encoder" else "ln"),
        ("cross_attention", "cross_attn"),
        ("self_attention", "attn"),
        ("attention", "attn"),
        ("_layernorm", "_ln"),
        ("mlp.fc", "mlp.0"),
        ("mlp.proj", "mlp.2"),
        ("dense", "out"),
    ):
        rest = rest.replace(theirs, ours)
    if ".qkv." in rest:
        block, parameter = rest.split(".qkv.")
        thirds = dict(zip(("query", "key", "value"), np.split(value, 3), strict=True))
        return {
            f"{part}.{block}.{third}.{parameter}": tensor
            for third, tensor in thirds.items()
            if (third, parameter) != ("key", "bias")
        }
    return {f"{part}.{rest}": value[..., 0] if "conv" in rest and value.ndim > 1 else value}


def test_the_configuration_of_large_v3() -> None:
    """Field by field what TensorRT-LLM's own converter writes; float32 logits are our choice."""
    encoder = {
        "architecture": "WhisperEncoder", "dtype": "float16", "num_hidden_layers": 32,
        "num_attention_heads": 20, "hidden_size": 1280, "max_position_embeddings": 1500,
        "has_position_embedding": True, "n_mels": 128, "vocab_size": 51866, "hidden_act": "gelu",
        "num_languages": 100, "quantization": {"quant_algo": None},
    }  # fmt: skip
    decoder = {
        "architecture": "DecoderModel", "dtype": "float16", "logits_dtype": "float32",
        "num_hidden_layers": 32, "num_attention_heads": 20, "hidden_size": 1280,
        "norm_epsilon": 1e-5, "vocab_size": 51866, "hidden_act": "gelu",
        "use_parallel_embedding": False, "embedding_sharding_dim": 0,
        "max_position_embeddings": 448, "use_prompt_tuning": False, "head_size": 64,
        "has_position_embedding": True, "layernorm_type": 0, "has_attention_qkvo_bias": True,
        "has_mlp_bias": True, "has_model_final_layernorm": True,
        "has_embedding_layernorm": False, "has_embedding_scale": False, "ffn_hidden_size": 5120,
        "q_scaling": 1.0, "layernorm_position": 0, "relative_attention": False,
        "max_distance": 0, "num_buckets": 0, "model_type": "whisper",
        "rescale_before_lm_head": False, "encoder_hidden_size": 1280, "encoder_num_heads": 20,
        "encoder_head_size": None, "skip_cross_kv": False, "quantization": {"quant_algo": None},
    }  # fmt: skip
    assert encoder == convert.encoder_config(SIZES["large-v3"])
    assert decoder == convert.decoder_config(SIZES["large-v3"])


@pytest.mark.parametrize("model", ["large-v3", "large-v3-turbo"])
def test_the_largest_models_need_little_memory(tmp_path: Path, model: str) -> None:
    """In real width, layers cut: beyond the weights themselves less than one tensor is held."""
    dims = dataclasses.replace(SIZES[model], n_audio_layer=1, n_text_layer=1)
    source = random_checkpoint(dims)
    largest = max(tensor.nbytes for tensor in source.tensors.values())
    tracemalloc.start()
    convert.convert(source, tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 51866 * 1280 * 2 == largest
    assert peak < largest
    config = json.loads((tmp_path / "decoder" / "config.json").read_text())
    assert (51866, 20, 1280) == tuple(
        config[name] for name in ("vocab_size", "num_attention_heads", "hidden_size")
    )
    stored = safetensors.read(tmp_path / "encoder" / "rank0.safetensors")
    assert (1280, 128, 3, 1) == stored["transformer.conv1.weight"].shape


def test_english_only_models_are_refused(tmp_path: Path) -> None:
    """The server speaks of languages; such a model has none."""
    dims = dataclasses.replace(TINY, n_vocab=51_864)
    with pytest.raises(CheckpointError, match="English only"):
        convert.convert(random_checkpoint(dims), tmp_path)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.model
def test_real_weights_convert_bit_by_bit(weights_dir: Path, tmp_path: Path) -> None:
    """Whisper base: the numbers that are stored are the numbers that were there."""
    source = checkpoint.read(weights_dir / "base")
    convert.convert(source, tmp_path)
    undone = {}
    for part in ("encoder", "decoder"):
        for name, value in safetensors.read(tmp_path / part / "rank0.safetensors").items():
            undone |= undo(part, name, value)
    assert set(source.tensors) == set(undone)
    for name, tensor in source.tensors.items():
        assert tensor.tobytes() == undone[name].tobytes(), name
