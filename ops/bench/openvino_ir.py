"""Whisper's weights as the folder that OpenVINO GenAI loads, so that it runs on the same ones.

Knows: the models' inputs, outputs and states, and the files beside them, as GenAI reads them
    (openvino.genai, src/cpp/src/whisper).
Must not know: who made the weights, or who runs them.
The usual way there is an export by way of torch; this one is OpenVINO's operators over
CTranslate2's model file. The encoder's weights stay float16, bit by bit as they were; the decoder's
matrices become int8, one scale a row, which GenAI is fastest with. It computes in bfloat16 where
the processor has it.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13 as ops

from server.decoding.tokenizer import Tokenizer
from server.engines.model_bin import Tensor, read_variables
from server.engines.openvino_encoder import Tower, graph, ints

Node = Any
"""OpenVINO's own; its types are not exact enough to be of use."""


def convert(model_dir: Path, folder: Path) -> None:
    """Write the folder's CTranslate2 model as GenAI's files.

    Raises:
        ModelFileError: the folder's model is no whole, unquantised Whisper.
    """
    variables = read_variables(model_dir / "model.bin")
    config = json.loads((model_dir / "config.json").read_text())
    tokenizer = Tokenizer.load(model_dir / "tokenizer.json")
    partial = folder.with_suffix(".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    ov.save_model(_encoder(variables), partial / "openvino_encoder_model.xml")
    ov.save_model(_decoder(variables), partial / "openvino_decoder_model.xml")
    n_vocab = variables["decoder/embeddings/weight"].shape[0]
    detokenizer = _detokenizer(tokenizer, n_vocab)
    ov.save_model(detokenizer, partial / "openvino_detokenizer.xml", compress_to_fp16=False)
    for name, content in _configs(config, tokenizer, variables).items():
        (partial / name).write_text(json.dumps(content))
    partial.rename(folder)


def _encoder(variables: Mapping[str, Tensor]) -> ov.Model:
    """The server's own, under GenAI's names."""
    encoder = graph(variables)
    encoder.inputs[0].tensor.set_names({"input_features"})
    encoder.outputs[0].tensor.set_names({"last_hidden_state"})
    encoder.reshape([-1, variables["encoder/conv1/weight"].shape[1], 3000])
    return encoder


def _configs(
    config: Mapping[str, Any], tokenizer: Tokenizer, variables: Mapping[str, Tensor]
) -> dict[str, dict[str, Any]]:
    """GenAI's settings, from those that came with the weights."""
    return {
        "config.json": {"max_source_positions": 1500, "eos_token_id": tokenizer.eot},
        "generation_config.json": {
            "alignment_heads": config["alignment_heads"],
            "begin_suppress_tokens": config["suppress_ids_begin"],
            "decoder_start_token_id": tokenizer.sot,
            "eos_token_id": tokenizer.eot,
            "is_multilingual": True,
            "lang_to_id": {f"<|{k}|>": v for k, v in tokenizer.language_tokens.items()},
            "max_initial_timestamp_index": 50,
            "max_new_tokens": 224,
            "no_timestamps_token_id": tokenizer.no_timestamps,
            "pad_token_id": tokenizer.eot,
            "prev_sot_token_id": tokenizer.sot_prev,
            "suppress_tokens": config["suppress_ids"],
            "task_to_id": {"transcribe": tokenizer.transcribe, "translate": tokenizer.translate},
        },
        "preprocessor_config.json": {
            "chunk_length": 30,
            "feature_size": int(variables["encoder/conv1/weight"].shape[1]),
            "hop_length": 160,
            "n_fft": 400,
            "n_samples": 480_000,
            "nb_max_frames": 3000,
            "sampling_rate": 16_000,
        },
    }


def _decoder(variables: Mapping[str, Tensor]) -> ov.Model:
    """Token ids and encoder output in, logits out; keys and values are the model's state."""
    tower = _Decoder(variables)
    ids = _input("input_ids", [-1, -1], ov.Type.i64)
    encoded = _input("encoder_hidden_states", [-1, -1, tower.width], ov.Type.f32)
    beam = _input("beam_idx", [-1], ov.Type.i32)
    logits = tower.logits(ids, encoded, beam)
    logits.output(0).set_names({"logits"})
    return ov.Model([ops.result(logits)], tower.sinks, [ids, encoded, beam], "whisper_decoder")


def _input(name: str, shape: Sequence[int], dtype: ov.Type) -> Node:
    node = ops.parameter(shape, dtype, name=name)
    node.output(0).set_names({name})
    return node


class _Decoder(Tower):
    """The decoder's operations; `sinks` are the assignments of its states."""

    def __init__(self, variables: Mapping[str, Tensor]) -> None:
        super().__init__(variables, "decoder")
        self.width = int(variables["decoder/embeddings/weight"].shape[1])
        self.sinks: list[Node] = []

    def constant(self, name: str) -> Node:
        return _constant(self.variables[f"decoder/{name}"])

    def logits(self, ids: Node, encoded: Node, beam: Node) -> Node:
        """openai/whisper model.py, TextDecoder."""
        embeddings = self.constant("embeddings/weight")
        zero = ops.constant(np.int64(0))
        x = ops.gather(embeddings, ids, zero)
        # One state tells how many tokens have gone before.
        past = [self._past(ids, beam, f"{layer}.{kind}") for layer, kind in self._states()]
        before = ops.gather(ops.shape_of(past[0]), ops.constant(np.int64(2)), zero)
        after = ops.add(before, ops.gather(ops.shape_of(ids), ops.constant(np.int64(1)), zero))
        one = ops.constant(np.int64(1))
        places = ops.range(before, after, one, "i64")
        x = ops.add(x, ops.gather(self.constant("position_encodings/encodings"), places, zero))
        later = ops.greater(
            ops.unsqueeze(ops.range(zero, after, one, "i64"), ints(0)),
            ops.unsqueeze(places, ints(1)),
        )
        hidden = ops.select(later, ops.constant(np.float32(-1e9)), ops.constant(np.float32(0)))
        mask = ops.unsqueeze(hidden, ints(0, 1))
        for layer in range(self._layers()):
            name = f"layer_{layer}/"
            keys, values = past[2 * layer : 2 * layer + 2]
            y = self.norm(x, f"{name}self_attention/layer_norm")
            x = ops.add(x, self._self_attention(y, layer, keys, values, mask))
            y = self.norm(x, f"{name}attention/layer_norm")
            x = ops.add(x, self._cross_attention(y, encoded, layer))
            y = self.norm(x, f"{name}ffn/layer_norm")
            y = ops.gelu(self.linear(y, f"{name}ffn/linear_0"), "erf")
            x = ops.add(x, self.linear(y, f"{name}ffn/linear_1"))
        return ops.matmul(self.norm(x, "layer_norm"), embeddings, False, True)

    def _layers(self) -> int:
        names = [name for name in self.variables if name.startswith("decoder/layer_")]
        return sum(name.endswith("/ffn/linear_0/bias") for name in names)

    def _states(self) -> list[tuple[int, str]]:
        return [(layer, kind) for layer in range(self._layers()) for kind in ("key", "value")]

    def _past(self, ids: Node, beam: Node, name: str) -> Node:
        """What a state holds, in the order of the beams that go on; at first nothing."""
        shape = [-1, self.heads, -1, self.width // self.heads]
        batch = ops.gather(ops.shape_of(ids), ints(0), ops.constant(np.int64(0)))
        empty = ops.concat([batch, ints(self.heads, 0, shape[-1])], 0)
        first = ops.broadcast(ops.constant(np.float32(0)), empty)
        read = ops.read_value(first, f"past.{name}", ov.Type.f32, ov.PartialShape(shape))
        return ops.gather(read, beam, ops.constant(np.int64(0)))

    def _self_attention(self, x: Node, layer: int, keys: Node, values: Node, mask: Node) -> Node:
        name = f"layer_{layer}/self_attention/"
        fused = self.linear(x, f"{name}linear_0")
        query, key, value = (
            self.split_heads(part) for part in ops.split(fused, ops.constant(2), 3).outputs()
        )
        key, value = ops.concat([keys, key], 2), ops.concat([values, value], 2)
        self.sinks += [
            ops.assign(key, f"past.{layer}.key"),
            ops.assign(value, f"past.{layer}.value"),
        ]
        mixed = ops.scaled_dot_product_attention(query, key, value, mask)
        return self.linear(self.join_heads(mixed), f"{name}linear_1")

    def _cross_attention(self, x: Node, encoded: Node, layer: int) -> Node:
        """Keys and values are computed at a window's first step, and kept."""
        name = f"layer_{layer}/attention/"
        query = self.split_heads(self.linear(x, f"{name}linear_0"))
        weight, bias = (self.variables[f"decoder/{name}linear_1/{k}"] for k in ("weight", "bias"))
        kept = []
        for number, kind in enumerate(("key", "value")):
            # Apart, since a state's first value must not come from a split.
            part = slice(number * self.width, (number + 1) * self.width)
            projected = ops.matmul(encoded, _constant(weight[part]), False, True)
            projected = self.split_heads(ops.add(projected, _constant(bias[part])))
            shape = ov.PartialShape([-1, self.heads, -1, self.width // self.heads])
            state = f"cross.{layer}.{kind}"
            kept.append(ops.read_value(projected, state, ov.Type.f32, shape))
            self.sinks.append(ops.assign(kept[-1], state))
        mixed = ops.scaled_dot_product_attention(query, *kept)
        return self.linear(self.join_heads(mixed), f"{name}linear_2")


def _constant(value: npt.NDArray[Any]) -> Node:
    """What is computed with as float32, or in the compiler's own precision: matrices from int8."""
    if value.ndim < 2:
        return ops.convert(ops.constant(np.ascontiguousarray(value, dtype=np.float16)), "f32")
    scale = np.abs(value.astype(np.float32)).max(axis=1, keepdims=True) / 127.0
    rounded = np.round(value / np.maximum(scale, 1e-12)).astype(np.int8)
    return ops.multiply(ops.convert(ops.constant(rounded), "f32"), ops.constant(scale))


def _detokenizer(tokenizer: Tokenizer, n_vocab: int) -> ov.Model:
    """Token ids to text, without special tokens, by operators of openvino_tokenizers."""
    from openvino_tokenizers import (  # noqa: PLC0415  the extension of the peers' environment
        _get_factory,
        _get_opset_factory,
    )
    from openvino_tokenizers.utils import create_string_constant_node  # noqa: PLC0415

    ids = ops.parameter([-1, -1], ov.Type.i64)
    vocabulary = [tokenizer.decode_bytes([token]) for token in range(tokenizer.eot)]
    vocabulary += [b""] * (n_vocab - tokenizer.eot)
    special = np.arange(tokenizer.eot, n_vocab, dtype=np.int32)
    factory = _get_factory()
    inputs = [ops.convert(ids, "i32").output(0), *create_string_constant_node(vocabulary)]
    *ragged, characters = factory.create(
        "VocabDecoder", [*inputs, ops.constant(special).output(0)]
    ).outputs()
    fused = [*factory.create("FuzeRagged", ragged, {}).outputs(), characters]
    text = _get_opset_factory("opset15").create("StringTensorPack", fused).outputs()
    model = ov.Model(text, [ids], "detokenizer")
    model.output().tensor.add_names({"string_output"})
    model.set_rt_info(ov.__version__, "openvino_tokenizers_version")
    model.set_rt_info(tokenizer.eot, "eos_token_id")
    return model
