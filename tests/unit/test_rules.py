from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.decoding.rules import NEVER, Rules, apply, forbidden
from server.engines.fake import byte_tokenizer
from server.types import GenerationOptions

EOT, NO_TIMESTAMPS, BEGIN, VOCAB = 20, 28, 29, 60
RULES = Rules(
    eot=EOT,
    no_timestamps=NO_TIMESTAMPS,
    timestamp_begin=BEGIN,
    with_timestamps=True,
    blank=(3, EOT),
    suppress_tokens=(5, 6, *range(EOT + 1, NO_TIMESTAMPS)),
    max_initial_timestamp_index=10,
)
seeds = st.integers(0, 2**32 - 1)


def decode(rules: Rules, seed: int, lean: float) -> list[int]:
    """Greedy decoding of random logits; `lean` favours timestamps."""
    rng = np.random.default_rng(seed)
    suppressed = rules.suppressed(VOCAB)
    tokens: list[int] = []
    while len(tokens) < 40:
        logits = rng.normal(0, 3, (1, VOCAB)).astype(np.float32)
        logits[:, BEGIN:] += lean
        apply(np, logits, [tokens], rules, suppressed)
        assert (logits > NEVER).any(), "something must be allowed"
        token = int(logits[0].argmax())
        if token == rules.eot:
            break
        tokens.append(token)
    return tokens


def allowed(rules: Rules, tokens: list[int], logits: np.ndarray | None = None) -> set[int]:
    """What may come next, by default where no timestamp is likely."""
    if logits is None:
        logits = np.zeros((1, VOCAB), np.float32)
        logits[:, BEGIN:] = -20
    apply(np, logits, [tokens], rules, rules.suppressed(VOCAB))
    return set(np.flatnonzero(logits[0] > NEVER).tolist())


@given(seeds, st.floats(-4, 4))
def test_whatever_the_logits_the_timestamps_make_sense(seed: int, lean: float) -> None:
    """First one early, never back, in pairs, segments of some length, nothing suppressed."""
    tokens = decode(RULES, seed, lean)
    stamps = [token for token in tokens if token >= BEGIN]

    assert BEGIN <= tokens[0] <= BEGIN + 10
    assert stamps == sorted(stamps)
    assert not set(tokens) & {*RULES.suppress_tokens, NO_TIMESTAMPS}
    opened: int | None = None
    for before, token in pairwise([EOT, *tokens]):
        if token < BEGIN:
            assert opened is not None, "text stands between timestamps"
        elif opened is None:
            opened = token
        elif before >= BEGIN:
            raise AssertionError("three timestamps in a row")
        else:
            assert token > opened, "a segment has a length"
            opened = None


@given(seeds)
def test_without_timestamps_text_is_free(seed: int) -> None:
    """Only blanks at the start and suppressed tokens are out."""
    rules = Rules(EOT, NO_TIMESTAMPS, BEGIN, with_timestamps=False, blank=(3, EOT),
                  suppress_tokens=(5,), max_initial_timestamp_index=None)  # fmt: skip
    logits = np.random.default_rng(seed).normal(0, 1, (2, VOCAB)).astype(np.float32)
    before = logits.copy()
    apply(np, logits, [[], [7]], rules, rules.suppressed(VOCAB))
    assert {3, 5, EOT} == set(np.flatnonzero(logits[0] == NEVER).tolist())
    assert {5} == set(np.flatnonzero(logits[1] == NEVER).tolist())
    assert (logits[logits > NEVER] == before[logits > NEVER]).all()


def test_a_window_opens_with_an_early_timestamp() -> None:
    """Up to the limit, or any where there is none."""
    assert set(range(BEGIN, BEGIN + 11)) == allowed(RULES, [])
    free = Rules(EOT, NO_TIMESTAMPS, BEGIN, with_timestamps=True, blank=(), suppress_tokens=(),
                 max_initial_timestamp_index=None)  # fmt: skip
    assert set(range(BEGIN, VOCAB)) == allowed(free, [])


def test_after_an_opening_timestamp_comes_text() -> None:
    """Or the end, but no second timestamp."""
    assert set(range(EOT + 1)) - {5, 6} == allowed(RULES, [BEGIN + 2])


def test_after_text_a_later_timestamp_may_close() -> None:
    """Not the one that opened: a segment has a length."""
    found = allowed(RULES, [BEGIN + 2, 7])
    assert set(range(BEGIN + 3, VOCAB)) == {token for token in found if token >= BEGIN}
    assert 7 in found


def test_after_a_closing_timestamp_the_next_opens_or_all_ends() -> None:
    """From the same instant on."""
    assert {EOT, *range(BEGIN + 9, VOCAB)} == allowed(RULES, [BEGIN + 2, 7, BEGIN + 9])


def test_timestamps_win_together() -> None:
    """No single one is likelier than the text, but all of them are."""
    logits = np.zeros((2, VOCAB), np.float32)
    logits[0, 7] = 3.0  # 31 timestamps of weight 1 outweigh e³ ≈ 20
    logits[1, 7] = 4.0  # but not e⁴ ≈ 55
    apply(np, logits, [[BEGIN, 7], [BEGIN, 7]], RULES, RULES.suppressed(VOCAB))
    assert NEVER == logits[0, :BEGIN].max()
    assert 4.0 == logits[1, 7]


@given(seeds, st.floats(-200, 200))
def test_adding_to_all_logits_changes_nothing(seed: int, shift: float) -> None:
    """Only differences count, also where exponentials would overflow."""
    logits = np.random.default_rng(seed).normal(0, 5, (1, VOCAB)).astype(np.float32).round(2)
    shifted = logits + np.float32(round(shift))
    assert allowed(RULES, [BEGIN, 7], logits) == allowed(RULES, [BEGIN, 7], shifted)


@pytest.mark.parametrize("sampled", [[], [BEGIN], [BEGIN, 7], [BEGIN, 7, VOCAB - 1]])
def test_ranges_lie_in_the_vocabulary(sampled: list[int]) -> None:
    """Whatever came before."""
    for start, stop in forbidden(RULES, sampled, VOCAB):
        assert 0 <= start <= stop <= VOCAB


def test_the_prompt_and_the_options_make_the_rules() -> None:
    """`<|notimestamps|>` in the prompt turns the timestamp rules off."""
    tokenizer = byte_tokenizer()
    options = GenerationOptions(suppress_tokens=(1, 2), max_initial_timestamp_index=7)
    prompt = tokenizer.sot_sequence("en", "transcribe")

    with_timestamps = Rules.of(tokenizer, options, prompt)
    assert with_timestamps.with_timestamps
    assert (tokenizer.encode(" ")[0], tokenizer.eot) == with_timestamps.blank
    assert (7, (1, 2)) == (
        with_timestamps.max_initial_timestamp_index, with_timestamps.suppress_tokens,
    )  # fmt: skip
    assert not Rules.of(tokenizer, options, (*prompt, tokenizer.no_timestamps)).with_timestamps
    assert () == Rules.of(tokenizer, GenerationOptions(suppress_blank=False), prompt).blank
