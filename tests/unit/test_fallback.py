from dataclasses import replace

import pytest

from server.decoding.fallback import (
    best_attempt,
    compression_ratio,
    generation_options,
    needs_fallback,
    rank,
)
from server.types import DecodingResult, Hypothesis, TranscriptionOptions

OPTIONS = TranscriptionOptions()
GOOD = DecodingResult("pt", (1, 2), "olá", -0.2, 0.1, 0.0, 1.1)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (GOOD, False),
        (replace(GOOD, compression_ratio=2.5), True),
        (replace(GOOD, avg_logprob=-1.1), True),
        (replace(GOOD, avg_logprob=-0.9, no_speech_prob=0.7), False),
    ],
)
def test_gates_are_openai_whispers(result: DecodingResult, expected: bool) -> None:
    """Repetition or low probability fail; what is no speech was dropped before."""
    assert expected == needs_fallback(result, OPTIONS)


def test_repetition_compresses() -> None:
    """A loop is far above the threshold, prose below it."""
    assert compression_ratio("Obrigado. " * 40) > 5
    assert compression_ratio("O setor bancário agora dispõe de uma melhor compreensão.") < 2.4


def test_of_failed_attempts_the_likeliest_without_a_loop_is_kept() -> None:
    """A loop is often very likely; it is the last choice."""
    loop = replace(GOOD, compression_ratio=9.0, avg_logprob=-0.05)
    poor = replace(GOOD, avg_logprob=-1.5)
    worse = replace(GOOD, avg_logprob=-2.5)
    assert poor == best_attempt([loop, worse, poor], OPTIONS)
    assert loop == best_attempt([loop], OPTIONS)


def test_hypotheses_are_ranked_by_average() -> None:
    """A longer text is not worse for being longer."""
    short = Hypothesis((1,), -1.0)
    long = Hypothesis((1, 2, 3, 4), -2.0)
    assert long == rank([short, long])


def test_beams_at_zero_and_samples_above() -> None:
    """The ladder's first rung searches, the others sample `best_of` candidates."""
    first = generation_options(OPTIONS, 0.0, (7,))
    second = generation_options(OPTIONS, 0.2, (7,))
    assert (5, 1, 0.0) == (first.beam_size, first.num_hypotheses, first.temperature)
    assert (1, 5, 0.2) == (second.beam_size, second.num_hypotheses, second.temperature)
    assert 50 == first.max_initial_timestamp_index
