"""openai-whisper's weights as TensorRT-LLM checkpoints of encoder and decoder.

Knows: TensorRT-LLM 1.2.1's tensor names, layouts and configuration fields for Whisper.
Must not know: files of weights, GPUs, TensorRT-LLM itself: nothing of it is imported.
Source: examples/models/core/whisper/convert_checkpoint.py and tensorrt_llm/models/enc_dec/model.py
    of TensorRT-LLM 1.2.1; recorded in docs/tensorrt_llm.md.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine_build import safetensors
from engine_build.checkpoint import Checkpoint
from engine_build.dims import ModelDimensions, Tensor, check_tensors
from engine_build.errors import CheckpointError
from engine_build.safetensors import Pieces

DTYPE = "float16"
LOGITS_DTYPE = "float32"
"""Log-probabilities and the timestamp rules are computed from the logits as they come."""

LAYER_NORM = 0
"""`LayerNormType.LayerNorm`."""

PRE_LAYERNORM = 0
"""`LayerNormPositionType.pre_layernorm`."""


def convert(checkpoint: Checkpoint, out: Path, say: Callable[[str], None] = lambda _: None) -> None:
    """Write `out/{encoder,decoder}/{config.json,rank0.safetensors}`; `say` is told of each.

    Tensor by tensor: beyond what `checkpoint` itself holds, one tensor is in memory.

    Raises:
        CheckpointError: it is not a whole Whisper, knows English only, or does not fit float16.
    """
    dims = checkpoint.dims
    check_tensors(dims, checkpoint.tensors)
    if not dims.is_multilingual:
        raise CheckpointError("this Whisper knows English only; a multilingual one is needed")
    parts = {
        "encoder": (encoder_config(dims), encoder_tensors(checkpoint)),
        "decoder": (decoder_config(dims), decoder_tensors(checkpoint)),
    }
    for name, (config, tensors) in parts.items():
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        say(f"  {name}: {len(tensors)} tensors")
        safetensors.write(folder / "rank0.safetensors", tensors, "F16")
        text = json.dumps(config, indent=4) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")


def encoder_config(dims: ModelDimensions) -> dict[str, object]:
    """`config.json` of the encoder; the class name is known to TensorRT-LLM's C++ runtime."""
    return {
        "architecture": "WhisperEncoder",
        "dtype": DTYPE,
        "num_hidden_layers": dims.n_audio_layer,
        "num_attention_heads": dims.n_audio_head,
        "hidden_size": dims.n_audio_state,
        "max_position_embeddings": dims.n_audio_ctx,
        "has_position_embedding": True,
        "n_mels": dims.n_mels,
        "vocab_size": dims.n_vocab,
        "hidden_act": "gelu",
        "num_languages": dims.num_languages,
        "quantization": {"quant_algo": None},
    }


def decoder_config(dims: ModelDimensions) -> dict[str, object]:
    """`config.json` of the decoder."""
    return {
        "architecture": "DecoderModel",
        "dtype": DTYPE,
        "logits_dtype": LOGITS_DTYPE,
        "num_hidden_layers": dims.n_text_layer,
        "num_attention_heads": dims.n_text_head,
        "hidden_size": dims.n_text_state,
        "norm_epsilon": 1e-5,
        "vocab_size": dims.n_vocab,
        "hidden_act": "gelu",
        "use_parallel_embedding": False,
        "embedding_sharding_dim": 0,
        "max_position_embeddings": dims.n_text_ctx,
        "use_prompt_tuning": False,
        "head_size": dims.n_text_state // dims.n_text_head,
        "has_position_embedding": True,
        "layernorm_type": LAYER_NORM,
        "has_attention_qkvo_bias": True,
        "has_mlp_bias": True,
        "has_model_final_layernorm": True,
        "has_embedding_layernorm": False,
        "has_embedding_scale": False,
        "ffn_hidden_size": 4 * dims.n_text_state,
        "q_scaling": 1.0,
        "layernorm_position": PRE_LAYERNORM,
        "relative_attention": False,
        "max_distance": 0,
        "num_buckets": 0,
        "model_type": "whisper",
        "rescale_before_lm_head": False,
        "encoder_hidden_size": dims.n_text_state,
        "encoder_num_heads": dims.n_text_head,
        "encoder_head_size": None,
        "skip_cross_kv": False,
        "quantization": {"quant_algo": None},
    }


def encoder_tensors(checkpoint: Checkpoint) -> dict[str, Pieces]:
    """The encoder's tensors by TensorRT-LLM's names."""
    source = checkpoint.tensors
    tensors: dict[str, Pieces] = {
        "transformer.position_embedding.weight": [source["encoder.positional_embedding"]]
    }
    for conv in ("conv1", "conv2"):
        # TensorRT-LLM convolves in two dimensions, the second of size 1.
        weight = source[f"encoder.{conv}.weight"][..., np.newaxis]
        tensors[f"transformer.{conv}.weight"] = [weight]
        tensors[f"transformer.{conv}.bias"] = [source[f"encoder.{conv}.bias"]]
    for layer in range(checkpoint.dims.n_audio_layer):
        block, to = f"encoder.blocks.{layer}", f"transformer.layers.{layer}"
        tensors |= _attention(checkpoint, f"{block}.attn", f"{to}.attention")
        tensors |= _mlp(checkpoint, block, to)
    return tensors | _both(checkpoint, "encoder.ln_post", "transformer.ln_f")


def decoder_tensors(checkpoint: Checkpoint) -> dict[str, Pieces]:
    """The decoder's tensors by TensorRT-LLM's names; the embedding is stored twice."""
    source = checkpoint.tensors
    embedding = source["decoder.token_embedding.weight"]
    tensors: dict[str, Pieces] = {
        "transformer.vocab_embedding.weight": [embedding],
        "transformer.position_embedding.weight": [source["decoder.positional_embedding"]],
        "lm_head.weight": [embedding],
    }
    for layer in range(checkpoint.dims.n_text_layer):
        block, to = f"decoder.blocks.{layer}", f"transformer.layers.{layer}"
        tensors |= _attention(checkpoint, f"{block}.attn", f"{to}.self_attention")
        tensors |= _attention(checkpoint, f"{block}.cross_attn", f"{to}.cross_attention")
        tensors |= _mlp(checkpoint, block, to)
    return tensors | _both(checkpoint, "decoder.ln", "transformer.ln_f")


def _attention(checkpoint: Checkpoint, block: str, to: str) -> dict[str, Pieces]:
    """Query, key and value as one projection; Whisper's keys have no bias, so theirs is zero."""
    source = checkpoint.tensors
    query, value = source[f"{block}.query.bias"], source[f"{block}.value.bias"]
    zeros: Tensor = np.zeros_like(query)
    return {
        f"{to}.qkv.weight": [
            source[f"{block}.{part}.weight"] for part in ("query", "key", "value")
        ],
        f"{to}.qkv.bias": [query, zeros, value],
        **_both(checkpoint, f"{block}.out", f"{to}.dense"),
        **_both(checkpoint, f"{block}_ln", f"{to}_layernorm"),
    }


def _mlp(checkpoint: Checkpoint, block: str, to: str) -> dict[str, Pieces]:
    return {
        **_both(checkpoint, f"{block}.mlp.0", f"{to}.mlp.fc"),
        **_both(checkpoint, f"{block}.mlp.2", f"{to}.mlp.proj"),
        **_both(checkpoint, f"{block}.mlp_ln", f"{to}.mlp_layernorm"),
    }


def _both(checkpoint: Checkpoint, name: str, to: str) -> dict[str, Pieces]:
    """Weight and bias, unchanged."""
    return {
        f"{to}.{parameter}": [checkpoint.tensors[f"{name}.{parameter}"]]
        for parameter in ("weight", "bias")
    }
