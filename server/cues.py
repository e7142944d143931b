"""Subtitle cues: a transcript in pieces that can be read while they are heard.

Knows: how much text fits on a screen, and for how long.
Must not know: SRT, VTT, HTTP.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from server.types import Segment, Transcript, Word

MIN_SECONDS = 1.0
"""A shorter cue stays until here, if the next one does not need the screen."""
PAUSE = 0.8
"""Seconds without a word that end a cue."""
CLAUSE_ENDS = (".", "?", "!", ",", ";", ":", "…", "。", "？", "！", "、", "，")  # noqa: RUF001 - that is how they are written
GOOD_FILL = 0.6
"""From this share of its room a cue ends at the next punctuation."""
WIDE = 0x1100
"""From Hangul on, characters are about twice as wide as Latin ones."""


@dataclass(frozen=True, slots=True)
class CueLimits:
    """What fits: characters a line (wide scripts: half), lines and seconds a cue."""

    max_line_chars: int = 42
    max_lines: int = 2
    max_seconds: float = 7.0


@dataclass(frozen=True, slots=True)
class Cue:
    """Text to be shown from `start` to `end`, in seconds."""

    start: float
    end: float
    lines: tuple[str, ...]


def cues(transcript: Transcript, limits: CueLimits) -> list[Cue]:
    """The transcript's cues: in order, not overlapping, none empty."""
    made = [
        cue
        for segment in transcript.segments
        for cue in _of_segment(_words(segment, limits.max_line_chars), limits)
        if cue.lines
    ]
    return list(_in_order(made))


def _words(segment: Segment, max_chars: int) -> list[Word]:
    """The segment's words; without any, its text's, spread over its time by their length."""
    if segment.words:
        return [piece for word in segment.words for piece in _pieces(word, max_chars)]
    texts = [" " + text for text in segment.text.split()]
    if len(texts) == 1 and _width(texts[0]) > len(texts[0]):
        texts = list(texts[0].strip())  # written without spaces
    total = sum(len(text) for text in texts)
    words, at = [], segment.start
    for text in texts:
        end = at + (segment.end - segment.start) * len(text) / total
        words += _pieces(Word(at, end, text, 1.0), max_chars)
        at = end
    return words


def _pieces(word: Word, max_chars: int) -> list[Word]:
    """A word that is longer than a line in pieces that are not, each with its share of time."""
    size = max_chars // 2 if _width(word.word) > len(word.word) else max_chars
    texts = [word.word[at : at + size] for at in range(0, len(word.word), size)]
    if len(texts) < 2:
        return [word]
    share = (word.end - word.start) / len(texts)
    return [
        Word(word.start + share * index, word.start + share * (index + 1), text, word.probability)
        for index, text in enumerate(texts)
    ]


def _of_segment(words: Sequence[Word], limits: CueLimits) -> Iterator[Cue]:
    current: list[Word] = []
    for word in words:
        if current and _is_full(current, word, limits):
            yield _cue(current, limits)
            current = []
        current.append(word)
    if current:
        yield _cue(current, limits)


def _is_full(current: Sequence[Word], following: Word, limits: CueLimits) -> bool:
    """Whether the next word belongs into the next cue."""
    last = current[-1]
    if following.start - last.end >= PAUSE:
        return True
    if following.end - current[0].start > limits.max_seconds:
        return True
    if len(_lines([*current, following], limits.max_line_chars)) > limits.max_lines:
        return True
    room = limits.max_line_chars * limits.max_lines
    filled = sum(_width(word.word) for word in current) >= GOOD_FILL * room
    return filled and last.word.rstrip().endswith(CLAUSE_ENDS)


def _cue(words: Sequence[Word], limits: CueLimits) -> Cue:
    """Lines of about equal length read better than a full one and a rest."""
    lines = _lines(words, limits.max_line_chars)
    if len(lines) == limits.max_lines > 1:
        total = sum(_width(line) for line in lines)
        for share in range(total // len(lines), limits.max_line_chars):
            balanced = _lines(words, share)
            if len(balanced) <= len(lines):
                lines = balanced
                break
    start = words[0].start
    # A single word may last longer than a cue may be shown.
    end = min(max(start, words[-1].end), start + limits.max_seconds)
    return Cue(start, end, tuple(lines))


def _lines(words: Sequence[Word], max_chars: int) -> list[str]:
    """Words filled into lines; a word longer than a line has one for itself."""
    lines: list[str] = []
    current = ""
    for word in words:
        if current.strip() and _width((current + word.word).strip()) > max_chars:
            lines.append(current.strip())
            current = word.word
        else:
            current += word.word
    return [line for line in [*lines, current.strip()] if line]


def _width(text: str) -> int:
    return sum(2 if ord(character) >= WIDE and character != "…" else 1 for character in text)


def _in_order(made: Sequence[Cue]) -> Iterator[Cue]:
    """Short cues stay a little; none is shown before the one before it has gone."""
    at = 0.0
    for index, cue in enumerate(made):
        start = max(cue.start, at)
        limit = made[index + 1].start if index + 1 < len(made) else start + MIN_SECONDS
        end = max(cue.end, min(start + MIN_SECONDS, limit), start + 0.001)
        at = end
        yield Cue(start, end, cue.lines)
