"""When a decoded window is not good enough, and which of several attempts is the best.

Knows: openai-whisper's gates on compression ratio and log-probability.
Must not know: how an attempt is made.
"""

import zlib
from collections.abc import Sequence

from server.types import DecodingResult, GenerationOptions, Hypothesis, TranscriptionOptions

DOUBTFUL_LOGPROB = -0.5
"""Below this a text is worth a try in another language that the window might be in."""


def compression_ratio(text: str) -> float:
    """Bytes over compressed bytes: text that repeats itself compresses well."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data))


def generation_options(
    options: TranscriptionOptions, temperature: float, suppress_tokens: tuple[int, ...]
) -> GenerationOptions:
    """What the engine is asked at one rung of the ladder: beams at 0, samples above."""
    return GenerationOptions(
        beam_size=options.beam_size if temperature == 0 else 1,
        num_hypotheses=1 if temperature == 0 else options.best_of,
        temperature=temperature,
        patience=options.patience,
        length_penalty=options.length_penalty,
        suppress_tokens=suppress_tokens,
        max_initial_timestamp_index=round(options.max_initial_timestamp / 0.02),
    )


def rank(hypotheses: Sequence[Hypothesis]) -> Hypothesis:
    """The likeliest by average log-probability (openai-whisper's ranker without penalty)."""
    return max(hypotheses, key=lambda each: each.sum_logprob / max(len(each.tokens), 1))


def needs_fallback(result: DecodingResult, options: TranscriptionOptions) -> bool:
    """Whether to try the next temperature: the text is repetitive, or unlikely.

    openai-whisper also accepts an unlikely text where it hears no speech, and drops it
    afterwards. Here `guard` has dropped it before, unless there is voice in the window.
    """
    return (
        result.compression_ratio > options.compression_ratio_threshold
        or result.avg_logprob < options.logprob_threshold
    )


def is_doubtful(result: DecodingResult, options: TranscriptionOptions) -> bool:
    """Whether the text may be in another language: it is less likely than speech usually is."""
    return result.avg_logprob < DOUBTFUL_LOGPROB or needs_fallback(result, options)


def best_attempt(
    attempts: Sequence[DecodingResult], options: TranscriptionOptions
) -> DecodingResult:
    """The one to keep when every rung failed: the likeliest that does not repeat itself."""
    varied = [
        attempt
        for attempt in attempts
        if attempt.compression_ratio <= options.compression_ratio_threshold
    ]
    return max(varied or attempts, key=lambda attempt: attempt.avg_logprob)
