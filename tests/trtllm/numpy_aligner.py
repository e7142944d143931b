"""openai-whisper's alignment in NumPy, on the converted checkpoint.

Source: openai/whisper timing.py, `find_alignment` and `dtw_cpu`. The real one beside the engine
needs PyTorch; `tests/oracle` compares it with openai-whisper itself.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from executor_double import encode
from numpy_whisper import NumpyWhisper, Tensor

from server.decoding.tokenizer import Tokenizer
from server.types import Alignment, AlignmentRequest, LogMel


class NumpyAligner:
    """`Aligner` by the given heads: (layer, head) pairs."""

    def __init__(
        self, whisper: NumpyWhisper, tokenizer: Tokenizer, heads: Sequence[tuple[int, int]]
    ) -> None:
        self._whisper, self._tokenizer, self._heads = whisper, tokenizer, heads

    def align(self, log_mel: LogMel, request: AlignmentRequest) -> Alignment:
        """One window."""
        begin, text = len(request.start_sequence), list(request.text_tokens)
        tokens = [*request.start_sequence, self._tokenizer.no_timestamps, *text]
        tokens.append(self._tokenizer.eot)
        encoded = encode(self._whisper, np.ascontiguousarray(log_mel.T, np.float16))
        scores: dict[int, Tensor] = {}
        hidden = self._whisper.hidden([tokens], [self._whisper.start(encoded)], scores)
        logits = self._whisper.head(hidden)[begin : begin + len(text), : self._tokenizer.eot]
        probs = softmax(logits)[range(len(text)), text]
        frames = max(1, request.num_frames // 2)
        weights = softmax(
            np.stack([scores[layer][head] for layer, head in self._heads])[..., :frames]
        )
        weights = (weights - weights.mean(1, keepdims=True)) / weights.std(1, keepdims=True)
        path = warp(-median(weights).mean(0)[begin:-1])
        return Alignment(tuple(path), tuple(float(each) for each in probs))


def softmax(x: Tensor) -> Tensor:
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def median(x: Tensor, width: int = 7) -> Tensor:
    """Over frames, the edges mirrored; too few frames are left as they are."""
    if x.shape[-1] <= width // 2:
        return x
    padded = np.pad(x, ((0, 0), (0, 0), (width // 2, width // 2)), mode="reflect")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, width, -1), -1)


def warp(costs: Any) -> list[tuple[int, int]]:
    """The cheapest monotonic path through (rows, columns), from corner to corner."""
    rows, columns = costs.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0
    steps = np.zeros((rows + 1, columns + 1), int)
    for column in range(1, columns + 1):
        for row in range(1, rows + 1):
            ways = (
                total[row - 1, column - 1], total[row - 1, column], total[row, column - 1],
            )  # fmt: skip
            best = 0 if ways[0] < ways[1] and ways[0] < ways[2] else 1 if ways[1] < ways[2] else 2
            total[row, column] = costs[row - 1, column - 1] + ways[best]
            steps[row, column] = best
    row, column, path = rows, columns, []
    while row > 0 and column > 0:
        path.append((row - 1, column - 1))
        best = steps[row, column]
        row, column = row - (best != 2), column - (best != 1)
    return path[::-1]
