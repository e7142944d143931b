"""What a window hands on: its segments, what of it was not heard, and where the next one starts.

Knows: levels and words.
Must not know: how the words were found.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from server.audio.windows import is_as_loud
from server.decoding.timing import Timing, longest
from server.decoding.tokenizer import Tokenizer
from server.job import HOP, Job
from server.types import SAMPLE_RATE, DecodingResult, Segment, SpeechSegment, TextToken, Window

MIN_REST = 2 * SAMPLE_RATE
"""What a model left out of a window is looked at again from 2 s on."""

MIN_STEP = SAMPLE_RATE
"""The next window starts at least 1 s after this one, whatever the words say."""


@dataclass(slots=True)
class Context:
    """What a window knows of those before it: their text, and where it ended."""

    previous: tuple[int, ...]
    last_speech_end: float


@dataclass(frozen=True, slots=True)
class Found:
    """A window's segments; where there is sound without a word; where the next one starts.

    `temperature` and `language` are those in which the text was found.
    """

    segments: list[Segment]
    unheard: list[SpeechSegment]
    stop: int
    temperature: float = 0.0
    language: str = ""


def segment_of(
    window: Window,
    result: DecodingResult,
    span: tuple[float, float],
    text: str,
    tokens: tuple[int, ...],
) -> Segment:
    """A segment of the window's result; `span` is its start and end in the recording."""
    start, end = span
    return Segment(
        id=0,
        seek=window.start // HOP,
        start=round(start, 2),
        end=round(end, 2),
        text=text,
        tokens=tokens,
        temperature=result.temperature,
        avg_logprob=result.avg_logprob,
        compression_ratio=result.compression_ratio,
        no_speech_prob=result.no_speech_prob,
    )


def text_tokens(
    tokens: Sequence[int], probs: Sequence[float], tokenizer: Tokenizer
) -> tuple[TextToken, ...]:
    """The text among a segment's tokens, each with its probability, in order."""
    text = [token for token in tokens if token < tokenizer.eot]
    assert len(text) == len(probs), "This is a bug: a token without its probability."
    return tuple(
        TextToken(tokenizer.decode_bytes([token]), prob)
        for token, prob in zip(text, probs, strict=True)
    )


def unheard(
    job: Job, window: Window, words: Sequence[Timing], typical: float, stop: int
) -> list[SpeechSegment]:
    """Stretches before sample `stop` that are as loud as the window's words and hold none.

    A model that stops early, or that cannot follow a change of language, leaves them out. The
    alignment gives such a stretch to the word before it, so a word counts for the longest
    that it may well last. A rest of nearly the whole window would be met again for ever.
    """
    if not words:
        return []
    ends = [window.time_offset, *(_end(word, typical) for word in words)]
    starts = [*(word.start for word in words), window.time_offset + window.duration]
    heard = job.level_of(round(words[0].start * SAMPLE_RATE), round(words[-1].end * SAMPLE_RATE))
    found = []
    for end, start in zip(ends, starts, strict=True):
        gap = SpeechSegment(round(end * SAMPLE_RATE), min(round(start * SAMPLE_RATE), stop))
        worth_it = MIN_REST <= gap.end - gap.start <= window.end - window.start - MIN_STEP
        if worth_it and is_as_loud(job.level_of(gap.start, gap.end), heard):
            found.append(gap)
    return found


def _end(word: Timing, typical: float) -> float:
    return min(word.end, word.start + longest(word.word, typical))


def next_start(job: Job, window: Window, stopped: int) -> int:
    """Where to go on: after the window, or where the model stopped inside it.

    It is taken at its word when the rest is short or far below the level of what it heard. A
    stop at the very start would be met again for ever.
    """
    rest_is_short = window.end - stopped < MIN_REST
    stuck = stopped - window.start < MIN_REST
    if rest_is_short or stuck:
        return window.end
    heard = job.level_of(window.start, stopped)
    rest = job.level_of(stopped, window.end)
    return stopped if is_as_loud(rest, heard) else window.end
