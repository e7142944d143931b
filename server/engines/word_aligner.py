"""Where words are in time: openai-whisper's own model and alignment, beside the engine (ADR 7).

Knows: openai-whisper, PyTorch, which heads of a Whisper follow time.
Must not know: TensorRT-LLM. Imports torch and openai-whisper, so only where words are wanted.
Source of the method and its numbers: openai/whisper timing.py, `find_alignment`.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
import whisper
from whisper.model import disable_sdpa
from whisper.timing import dtw

from server.decoding.tokenizer import Tokenizer
from server.engines.manifest import Manifest
from server.engines.model_bin import ModelFileError, read_variables
from server.engines.whisper_tensors import sizes, state_dict
from server.errors import EngineError
from server.types import Alignment, AlignmentRequest, LogMel

MEDIAN_WIDTH = 7
"""Frames of the filter over each head's attention."""


class WordAligner:
    """One Whisper in PyTorch that reads what was transcribed, and sees where it looks.

    For one thread at a time.
    """

    def __init__(self, model: Any, tokenizer: Tokenizer) -> None:  # noqa: ANN401 - no types
        """`model` is a `whisper.model.Whisper` with its alignment heads."""
        self._model = model
        self._tokenizer = tokenizer
        self._heads: list[tuple[int, int]] = [
            (int(layer), int(head)) for layer, head in model.alignment_heads.indices().T
        ]
        self._scores: dict[int, torch.Tensor] = {}
        for layer in {layer for layer, _ in self._heads}:
            attention = model.decoder.blocks[layer].cross_attn
            attention.register_forward_hook(self._keep(layer))

    @classmethod
    def load(
        cls, weights: Path, manifest: Manifest, tokenizer: Tokenizer, *, device: str
    ) -> "WordAligner":
        """Read openai-whisper's checkpoint, or CTranslate2's folder; in float16 on a GPU.

        Raises:
            EngineError: these are not the weights that the engine was built from, or cannot be
                read, or their alignment heads are not known.
        """
        file = weights / "model.bin" if weights.is_dir() else weights
        try:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise EngineError(f"The word aligner's weights {file} cannot be read.") from error
        if digest != manifest.weights_sha256:
            raise EngineError(
                f"The word aligner's weights are not those that the engine of {manifest.model} "
                f"was built from: SHA-256 {digest}, built from {manifest.weights_sha256}."
            )
        heads = whisper._ALIGNMENT_HEADS.get(manifest.model)  # noqa: SLF001 - nowhere else
        if heads is None:
            raise EngineError(f"openai-whisper knows no alignment heads of {manifest.model}.")
        model = whisper_model(weights, device)
        model.set_alignment_heads(heads)
        if model.device.type == "cuda":
            for module in model.modules():
                # Norms compute in float32, and their weights have to be of that type.
                if not list(module.children()) and not isinstance(module, torch.nn.LayerNorm):
                    module.half()
        return cls(model, tokenizer)

    def align(self, log_mel: LogMel, request: AlignmentRequest) -> Alignment:
        """The best path of the text tokens through the window; end-of-text has the last row."""
        tokenizer = self._tokenizer
        begin, text = len(request.start_sequence), list(request.text_tokens)
        tokens = [*request.start_sequence, tokenizer.no_timestamps, *text, tokenizer.eot]
        weight = self._model.encoder.conv1.weight
        mel = torch.from_numpy(log_mel).to(weight.device, weight.dtype)
        with torch.inference_mode(), disable_sdpa():
            ids = torch.tensor([tokens], device=weight.device)
            logits = self._model(mel[None], ids)[0]
            # Among the text tokens alone: what a token's probability is compared with.
            probs = logits[begin : begin + len(text), : tokenizer.eot].float().softmax(-1)
            chosen = probs[range(len(text)), text].tolist()
            scores = torch.stack([self._scores[layer][head] for layer, head in self._heads])
            self._scores.clear()
            frames = max(1, request.num_frames // 2)
            weights = scores[:, :, :frames].float().softmax(-1)
            std, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
            smooth = _median_filter((weights - mean) / std)
            # On the CPU: for a GPU openai-whisper would compile a kernel first, for which there has
            # to be a compiler, and a folder whose files may be run.
            rows, columns = dtw(-smooth.mean(0)[begin:-1].cpu())
        path = zip(rows.tolist(), columns.tolist(), strict=True)
        return Alignment(tuple((int(row), int(column)) for row, column in path), tuple(chosen))

    def _keep(self, layer: int) -> Any:  # noqa: ANN401 - a hook of torch's
        """Keeps the scores of one layer's heads, before their softmax: (heads, tokens, frames)."""

        def hook(_module: Any, _inputs: Any, outputs: Any) -> None:  # noqa: ANN401
            self._scores[layer] = outputs[-1][0]

        return hook


def _median_filter(x: torch.Tensor) -> torch.Tensor:
    """Over the last dimension; openai-whisper's `median_filter` without a kernel of its own."""
    pad = MEDIAN_WIDTH // 2
    if x.shape[-1] <= pad:
        return x
    padded = torch.nn.functional.pad(x, (pad, pad, 0, 0), mode="reflect")
    return padded.unfold(-1, MEDIAN_WIDTH, 1).sort()[0][..., pad]


def whisper_model(weights: Path, device: str) -> Any:  # noqa: ANN401 - no types
    """openai-whisper's model in float32, from its own checkpoint or from CTranslate2's folder.

    Raises:
        EngineError: CTranslate2's file cannot be read.
    """
    if not weights.is_dir():
        return whisper.load_model(str(weights), device=device)
    file = weights / "model.bin"
    try:
        variables = read_variables(file)
        dims = whisper.ModelDimensions(**sizes(variables))
        tensors = state_dict(variables)
    except (ModelFileError, OSError) as error:
        raise EngineError(f"The weights {file} cannot be read.") from error
    model = whisper.Whisper(dims)
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in tensors.items()})
    return model.eval().to(device)
