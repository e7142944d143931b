"""CTranslate2's Whisper weights by openai-whisper's names.

Knows: both models' tensor names.
Must not know: which model this is, or what becomes of it.
Nothing is computed: every tensor keeps its bits; fused projections are cut apart.
"""

from collections.abc import Mapping

import numpy as np

from server.engines.model_bin import ModelFileError, Tensor

PARTS = {
    "conv1": "conv1",
    "conv2": "conv2",
    "self_attention/layer_norm": "attn_ln",
    "attention/layer_norm": "cross_attn_ln",
    "ffn/layer_norm": "mlp_ln",
    "ffn/linear_0": "mlp.0",
    "ffn/linear_1": "mlp.2",
    "self_attention/linear_1": "attn.out",
    "attention/linear_0": "cross_attn.query",
    "attention/linear_2": "cross_attn.out",
    "embeddings": "token_embedding",
}
FUSED = {
    "self_attention/linear_0": ("attn.query", "attn.key", "attn.value"),
    "attention/linear_1": ("cross_attn.key", "cross_attn.value"),
}
PARAMETERS = {"gamma": "weight", "beta": "bias", "weight": "weight", "bias": "bias"}


def state_dict(variables: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors by openai-whisper's names, query, key and value apart.

    Raises:
        ModelFileError: a tensor is quantised or unknown.
    """
    state: dict[str, Tensor] = {}
    for name, value in variables.items():
        if name.endswith("/weight_scale"):
            raise ModelFileError("the weights are quantised; float16 or float32 is needed")
        if value.ndim:
            state.update(_rename(name, value))
    return state


def _rename(name: str, value: Tensor) -> dict[str, Tensor]:
    tower, _, rest = name.partition("/")
    if rest == "position_encodings/encodings":
        return {f"{tower}.positional_embedding": value}
    block = ""
    if rest.startswith("layer_") and rest[len("layer_")].isdigit():
        layer, _, rest = rest.partition("/")
        block = f"blocks.{layer.removeprefix('layer_')}."
    part, _, parameter = rest.rpartition("/")
    if part == "layer_norm":
        return {
            f"{tower}.{'ln_post' if tower == 'encoder' else 'ln'}.{PARAMETERS[parameter]}": value
        }
    if part in FUSED:
        names = FUSED[part]
        pieces = zip(names, np.split(value, len(names)), strict=True)
        # Whisper's keys have no bias; CTranslate2 stores zeros in its place.
        return {
            f"{tower}.{block}{piece}.{parameter}": tensor
            for piece, tensor in pieces
            if not (piece.endswith("key") and parameter == "bias")
        }
    if part not in PARTS:
        raise ModelFileError(f"unknown tensor {name}")
    return {f"{tower}.{block}{PARTS[part]}.{PARAMETERS[parameter]}": value}


def sizes(variables: Mapping[str, Tensor]) -> dict[str, int]:
    """openai-whisper's `dims`, read off the tensors' shapes.

    Raises:
        ModelFileError: a tensor that tells a size is missing.
    """

    def layers(tower: str) -> int:
        ending = "/ffn/linear_0/weight"
        return sum(
            name.startswith(f"{tower}/layer_") and name.endswith(ending) for name in variables
        )

    try:
        n_audio_ctx, n_audio_state = variables["encoder/position_encodings/encodings"].shape
        n_text_ctx, n_text_state = variables["decoder/position_encodings/encodings"].shape
        return {
            "n_mels": variables["encoder/conv1/weight"].shape[1],
            "n_audio_ctx": n_audio_ctx,
            "n_audio_state": n_audio_state,
            "n_audio_head": int(variables["encoder/num_heads"]),
            "n_audio_layer": layers("encoder"),
            "n_vocab": variables["decoder/embeddings/weight"].shape[0],
            "n_text_ctx": n_text_ctx,
            "n_text_state": n_text_state,
            "n_text_head": int(variables["decoder/num_heads"]),
            "n_text_layer": layers("decoder"),
        }
    except KeyError as error:
        raise ModelFileError(f"{error} is missing") from error
