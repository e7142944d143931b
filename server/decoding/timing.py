"""Words in time: from an alignment of tokens to the words of each segment.

Knows: openai-whisper's rules for punctuation and for words that are implausibly long.
Must not know: how the alignment was computed (each engine has its way).

Source of rules and numbers: openai/whisper timing.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from server.decoding.tokenizer import Tokenizer
from server.types import Alignment, Segment, Word

FRAMES_PER_SECOND = 50
"""Encoder frames: 20 ms each."""

PREPENDED = "\"'“¿([{-"
"""Punctuation that belongs to the word after it."""
APPENDED = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001 - that is how they are written
"""Punctuation that belongs to the word before it."""
SENTENCE_ENDS = ".。!！?？"  # noqa: RUF001 - that is how they are written

MAX_MEDIAN = 0.7
"""Seconds: a typical word is never taken to be longer than this."""


@dataclass(slots=True)
class Timing:
    """One word in the making: seconds from the window's start, and how many tokens it has.

    `probability` is the mean of `token_probs`, or was, before punctuation came to the word.
    """

    word: str
    n_tokens: int
    start: float
    end: float
    probability: float
    token_probs: tuple[float, ...] = ()


def place_words(
    alignment: Alignment, tokens: Sequence[int], language: str, tokenizer: Tokenizer
) -> list[Timing]:
    """The words of `tokens` (text only) with their times; probability is their tokens' mean."""
    words, runs = tokenizer.split_to_words(tokens, language)
    if not words or not alignment.path:
        return []
    # The first frame of each token; the one after the last token ends the last word.
    onset: dict[int, int] = {}
    for token, frame in alignment.path:
        onset.setdefault(token, frame)
    last_frame = alignment.path[-1][1]
    onsets = [onset.get(index, last_frame) / FRAMES_PER_SECOND for index in range(len(tokens) + 1)]
    timings = []
    first = 0
    for word, run in zip(words, runs, strict=True):
        probs = alignment.text_token_probs[first : first + len(run)]
        probability = sum(probs) / len(probs) if probs else 0.0
        last = first + len(run)
        timings.append(Timing(word, len(run), onsets[first], onsets[last], probability, probs))
        first = last
    return timings


def typical_duration(timings: Sequence[Timing]) -> float:
    """Median length of the words that have one, at most 0.7 s; 0 if none has."""
    durations = [each.end - each.start for each in timings if each.end > each.start]
    return min(MAX_MEDIAN, median(durations)) if durations else 0.0


def longest(word: str, typical: float) -> float:
    """Seconds that a word may well last: twice the typical one, more if it is long.

    A numeral is said as several words: «1881» takes as long as four of them.
    """
    characters = [character for character in word if character.isalnum()]
    digits = sum(character.isdigit() for character in characters)
    return 2 * typical * max(1.0, digits / 2, len(characters) / 8)


def shorten_at_sentence_ends(timings: Sequence[Timing], max_duration: float) -> None:
    """A pause at a sentence's end is not part of a word, though the alignment says so."""
    for before, each in pairwise(timings):
        if each.end - each.start <= max_duration:
            continue
        if each.word.strip() and each.word.strip() in SENTENCE_ENDS:
            each.end = each.start + max_duration
        elif before.word.strip() and before.word.strip() in SENTENCE_ENDS:
            each.start = each.end - max_duration


def merge_punctuation(timings: Sequence[Timing]) -> list[Timing]:
    """Glue punctuation to its word; the word keeps its own times.

    Whisper has a token without text. It goes to a neighbour, too, or words would lose count of
    their tokens.
    """
    merged: list[Timing] = []
    for each in reversed(timings):
        # A space alone opens a word too: every string holds the empty one.
        opens = each.word.startswith(" ") and each.word.strip() in PREPENDED
        if opens and merged:
            merged[-1].word = each.word + merged[-1].word
            merged[-1].n_tokens += each.n_tokens
            merged[-1].token_probs = each.token_probs + merged[-1].token_probs
        else:
            merged.append(replace(each))
    merged.reverse()
    joined: list[Timing] = []
    for each in merged:
        closes = joined and each.word in APPENDED and not joined[-1].word.endswith(" ")
        if joined and (closes or not each.word):
            joined[-1].word += each.word
            joined[-1].n_tokens += each.n_tokens
            joined[-1].token_probs += each.token_probs
        else:
            joined.append(each)
    if len(joined) > 1 and not joined[0].word:
        first = joined.pop(0)
        joined[0].n_tokens += first.n_tokens
        joined[0].token_probs = first.token_probs + joined[0].token_probs
    return joined


def tidy(timings: Sequence[Timing], time_offset: float) -> tuple[list[Timing], float]:
    """A window's words as a reader expects them, in seconds of the recording.

    Returns: the words with their punctuation, and how long a word typically is.
    """
    typical = typical_duration(timings)
    shorten_at_sentence_ends(timings, 2 * typical)
    merged = merge_punctuation(timings)
    shifted = [
        replace(each, start=each.start + time_offset, end=each.end + time_offset)
        for each in merged
        if each.word
    ]
    return shifted, typical


def add_words(
    segments: Sequence[Segment],
    timings: Sequence[Timing],
    *,
    time_offset: float,
    last_speech_end: float,
    eot: int,
) -> list[Segment]:
    """Give each segment of one window its words, and let both agree on the edges.

    Args:
        segments: one window's segments, in order, in seconds of the recording.
        timings: the words of all their text tokens, in order, in seconds of the window.
        time_offset: the window's start, in seconds of the recording.
        last_speech_end: where the segment before the first one ended.
        eot: the first token id that is not text.
    """
    words_left, typical = tidy(timings, time_offset)
    words_left.reverse()
    finished = []
    for segment in segments:
        n_tokens = sum(token < eot for token in segment.tokens)
        words: list[Timing] = []
        while words_left and n_tokens > 0:
            words.append(words_left.pop())
            n_tokens -= words[-1].n_tokens
        fitted = _fit(segment, words, typical, last_speech_end)
        finished.append(fitted)
        last_speech_end = fitted.end
    return finished


def _fit(segment: Segment, words: list[Timing], typical: float, last_speech_end: float) -> Segment:
    """Cut implausibly long words at the segment's edges; then the edges follow the words."""
    if not words:
        return segment
    shorten_after_pause(words, typical, last_speech_end)
    start, end = segment.start, segment.end
    first, last = words[0], words[-1]
    if start < first.end and start - 0.5 > first.start:
        first.start = max(0.0, min(first.end - typical, start))
    else:
        start = first.start
    if end > last.start and end + 0.5 < last.end:
        last.end = max(last.start + typical, end)
    else:
        end = last.end
    end = max(start, end)
    return replace(segment, start=start, end=end, words=in_order(words, start, end))


def shorten_after_pause(words: Sequence[Timing], typical: float, last_speech_end: float) -> None:
    """The first words after a pause tend to swallow it."""
    longest = 2 * typical
    first = words[0]
    after_pause = first.end - last_speech_end > 4 * typical
    too_long = first.end - first.start > longest
    two_too_long = len(words) > 1 and words[1].end - first.start > 2 * longest
    if not (after_pause and (too_long or two_too_long)):
        return
    if len(words) > 1 and words[1].end - words[1].start > longest:
        boundary = max(words[1].end / 2, words[1].end - longest)
        first.end = words[1].start = boundary
    first.start = max(0.0, first.end - longest)


def in_order(words: Sequence[Timing], start: float, end: float) -> tuple[Word, ...]:
    """As values, never going back in time and never outside the segment."""
    placed = []
    at = start
    for each in words:
        begin = min(max(each.start, at), end)
        at = min(max(each.end, begin), end)
        placed.append(Word(round(begin, 2), round(at, 2), each.word, each.probability))
    return tuple(placed)
