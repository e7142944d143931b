"""Which tokens may come next: openai-whisper's logit filters, for any array library.

Knows: the rules on blanks, suppressed tokens and timestamps.
Must not know: how a token is chosen, or where the logits are. `xp` is the array namespace:
    numpy on the CPU, torch on the GPU; only what both call by one name is used, and nothing here
    waits for a GPU: what depends on the tokens so far is decided on the host beforehand.
Source: openai/whisper decoding.py: SuppressBlank, SuppressTokens, ApplyTimestampRules.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from server.decoding.tokenizer import Tokenizer
from server.types import GenerationOptions

Array: TypeAlias = Any
"""An array of the namespace's library."""

Namespace: TypeAlias = Any
"""The module `numpy` or `torch`."""

NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Rules:
    """What is forbidden in one window; equal rules may be applied to many windows at once.

    `blank` are the tokens that may not come first; `max_initial_timestamp_index` counts steps of
    20 ms, None is no limit. Without timestamps the text tokens are free.
    """

    eot: int
    no_timestamps: int
    timestamp_begin: int
    with_timestamps: bool
    blank: tuple[int, ...]
    suppress_tokens: tuple[int, ...]
    max_initial_timestamp_index: int | None

    @classmethod
    def of(cls, tokenizer: Tokenizer, options: GenerationOptions, prompt: Sequence[int]) -> "Rules":
        """The rules for a prompt; it says whether timestamps are wanted."""
        return cls(
            eot=tokenizer.eot,
            no_timestamps=tokenizer.no_timestamps,
            timestamp_begin=tokenizer.timestamp_begin,
            with_timestamps=tokenizer.no_timestamps not in prompt,
            blank=(*tokenizer.encode(" "), tokenizer.eot) if options.suppress_blank else (),
            suppress_tokens=options.suppress_tokens,
            max_initial_timestamp_index=options.max_initial_timestamp_index,
        )

    def suppressed(self, n_vocab: int) -> npt.NDArray[np.bool_]:
        """The tokens that never come: bool (n_vocab,), to be made an array of `xp` once."""
        mask = np.zeros(n_vocab, dtype=np.bool_)
        mask[list(self.suppress_tokens)] = True
        if self.with_timestamps:  # whether there are timestamps is the prompt's affair
            mask[self.no_timestamps] = True
        return mask


def forbidden(rules: Rules, sampled: Sequence[int], n_vocab: int) -> Iterator[tuple[int, int]]:
    """Ranges of tokens, `start` ≤ token < `stop`, that may not follow `sampled`.

    Args:
        rules: the window's rules.
        sampled: the tokens after the prompt.
        n_vocab: size of the vocabulary.
    """
    if not sampled:
        yield from ((token, token + 1) for token in rules.blank)
    if not rules.with_timestamps:
        return
    begin = rules.timestamp_begin
    if not sampled:
        yield 0, begin  # a window opens with a timestamp
        if rules.max_initial_timestamp_index is not None:
            yield min(begin + rules.max_initial_timestamp_index + 1, n_vocab), n_vocab
        return
    last_was_timestamp = sampled[-1] >= begin
    penultimate_was_timestamp = len(sampled) < 2 or sampled[-2] >= begin
    # Timestamps come in pairs, except directly before the end.
    if last_was_timestamp and penultimate_was_timestamp:
        yield begin, n_vocab
    elif last_was_timestamp:
        yield 0, rules.eot
    latest = next((token for token in reversed(sampled) if token >= begin), None)
    if latest is not None:
        # They never go back, and a segment has a length: else decoding could loop for ever.
        opens_next = last_was_timestamp and not penultimate_was_timestamp
        yield begin, latest if opens_next else latest + 1


def apply(
    xp: Namespace,
    logits: Array,
    sampled: Sequence[Sequence[int]],
    rules: Rules,
    suppressed: Array,
) -> None:
    """Set the logits of all forbidden tokens to minus infinity, in place.

    Args:
        xp: the array namespace of `logits` and `suppressed`.
        logits: float32 (n_batch, n_vocab).
        sampled: each row's tokens after the prompt.
        rules: of all rows.
        suppressed: `Rules.suppressed` of these rules, bool (n_vocab,).
    """
    n_vocab = logits.shape[1]
    logits[...] = xp.where(suppressed, NEVER, logits)
    for row, tokens in enumerate(sampled):
        for start, stop in forbidden(rules, tokens, n_vocab):
            logits[row, start:stop] = NEVER
    if rules.with_timestamps:
        _prefer_timestamps(xp, logits, rules.timestamp_begin)


def _prefer_timestamps(xp: Namespace, logits: Array, begin: int) -> None:
    """Where all timestamps together are likelier than any other token, it is a timestamp.

    Compared without logarithms, relative to each row's maximum: the same order, and a row whose
    timestamps are all forbidden needs no case of its own.
    """
    top = xp.amax(logits, 1)[:, None]
    timestamps = xp.sum(xp.exp(logits[:, begin:] - top), 1)
    best_text = xp.amax(xp.exp(logits[:, :begin] - top), 1)
    logits[:, :begin] = xp.where((timestamps > best_text)[:, None], NEVER, logits[:, :begin])
