"""Our logit rules against openai-whisper's filters, in NumPy and in PyTorch."""

import warnings
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from whisper.decoding import ApplyTimestampRules, LogitFilter, SuppressBlank, SuppressTokens
from whisper.tokenizer import get_tokenizer

from server.decoding.rules import NEVER, Rules, apply

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ResourceWarning)  # it leaves its vocabulary's file open
    THEIRS = get_tokenizer(True, num_languages=100, language="en", task="transcribe")
VOCAB = 51_866
PROMPT = list(THEIRS.sot_sequence)
BEGIN = THEIRS.timestamp_begin

text = st.integers(0, THEIRS.eot - 1)
stamps = st.integers(BEGIN, VOCAB - 1)
histories = st.lists(st.one_of(text, stamps), max_size=6)


def theirs(rules: Rules, tokens: list[int], logits: torch.Tensor) -> torch.Tensor:
    """openai-whisper's filters in openai-whisper's order."""
    filters: list[LogitFilter] = []
    if rules.blank:
        filters.append(SuppressBlank(THEIRS, len(PROMPT)))
    filters.append(SuppressTokens(rules.suppress_tokens))
    if rules.with_timestamps:
        limit = rules.max_initial_timestamp_index
        filters.append(ApplyTimestampRules(THEIRS, len(PROMPT), limit))
    context = torch.tensor([PROMPT + tokens])
    for each in filters:
        each.apply(logits, context)
    return logits


def ours(xp: Any, rules: Rules, tokens: list[int], logits: Any, suppressed: Any) -> Any:
    apply(xp, logits, [tokens], rules, suppressed)
    return logits


@settings(deadline=None, max_examples=300)
@given(
    seed=st.integers(0, 2**32 - 1),
    spread=st.floats(0.1, 10),
    lean=st.floats(-12, 12),
    tokens=histories,
    with_timestamps=st.booleans(),
    blank=st.booleans(),
    suppress=st.lists(st.integers(0, BEGIN - 1), max_size=20, unique=True),
    limit=st.one_of(st.none(), st.integers(0, 1500)),
)
def test_the_same_masks(
    seed: int,
    spread: float,
    lean: float,
    tokens: list[int],
    with_timestamps: bool,
    blank: bool,
    suppress: list[int],
    limit: int | None,
) -> None:
    """Whatever was said before and however likely timestamps are: token by token the same."""
    rules = Rules(
        eot=THEIRS.eot,
        no_timestamps=THEIRS.no_timestamps,
        timestamp_begin=BEGIN,
        with_timestamps=with_timestamps,
        blank=(*THEIRS.encode(" "), THEIRS.eot) if blank else (),
        suppress_tokens=tuple(suppress),
        max_initial_timestamp_index=limit,
    )
    logits = np.random.default_rng(seed).normal(0, spread, (1, VOCAB)).astype(np.float32)
    logits[:, BEGIN:] += np.float32(lean)
    mask = rules.suppressed(VOCAB)

    expected = theirs(rules, tokens, torch.from_numpy(logits.copy())).numpy()
    in_numpy = ours(np, rules, tokens, logits.copy(), mask)
    in_torch = ours(
        torch, rules, tokens, torch.from_numpy(logits.copy()), torch.from_numpy(mask)
    ).numpy()

    assert np.array_equal(expected == NEVER, in_numpy == NEVER)
    assert np.array_equal(expected == NEVER, in_torch == NEVER)
    kept = expected > NEVER
    assert np.array_equal(expected[kept], in_numpy[kept])
