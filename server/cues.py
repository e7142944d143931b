"""Subtitle cues: a transcript in pieces that can be read while they are heard.

Knows: how much text fits on a screen, and for how long.
Must not know: SRT, VTT, HTTP.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from server.types import Segment, Transcript, Word

MIN_SECONDS = 1.0
"""A shorter cue stays until here, if the next one does not need the screen."""
PAUSE = 0.8
"""Seconds without a word that end a cue."""
SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")  # noqa: RUF001 - that is how they are written
CLAUSE_ENDS = (",", ";", ":", "、", "，")  # noqa: RUF001 - that is how they are written
MID_CLAUSE, MID_SENTENCE = 0.6, 0.15
"""What it costs to end a cue there; a cue more costs 1."""
UNEVEN = 0.3
"""What an empty cue would cost; by the square of its free room, so that cues share evenly."""
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
    run: list[Word] = []
    for word in words:
        if run and word.start - run[-1].end >= PAUSE:
            yield from _of_run(run, limits)
            run = []
        run.append(word)
    yield from _of_run(run, limits)


def _of_run(run: Sequence[Word], limits: CueLimits) -> Iterator[Cue]:
    """Words without a pause as the cues of least cost: few, ending at clauses, about even."""
    costs = [0.0] + [math.inf] * len(run)
    starts = [0] * len(costs)
    for start in range(len(run)):
        for end, width in _ends(run, start, limits):
            last = end == len(run)
            cost = costs[start] + _cost(run[end - 1].word, width, limits, last=last)
            if cost < costs[end]:
                costs[end], starts[end] = cost, start
    parts = []
    end = len(run)
    while end:
        parts.append(run[starts[end] : end])
        end = starts[end]
    for part in reversed(parts):
        yield _cue(part, limits)


def _ends(run: Sequence[Word], start: int, limits: CueLimits) -> Iterator[tuple[int, int]]:
    """Where a cue that begins with this word may end, and how wide its text is then.

    One word may always stand alone; more are read on one screen and spoken while it is shown.
    """
    filler = _Filler(limits.max_line_chars)
    width = 0
    for end in range(start + 1, len(run) + 1):
        word = run[end - 1]
        filler.add(word.word)
        width += _width(word.word)
        if end > start + 1 and (
            filler.count > limits.max_lines or word.end - run[start].start > limits.max_seconds
        ):
            return
        yield end, width


def _cost(last_word: str, width: int, limits: CueLimits, *, last: bool) -> float:
    text = last_word.rstrip()
    place = MID_SENTENCE if text.endswith(CLAUSE_ENDS) else MID_CLAUSE
    if last or text.endswith(SENTENCE_ENDS):
        place = 0.0
    free = max(0.0, 1.0 - width / (limits.max_line_chars * limits.max_lines))
    return 1.0 + place + UNEVEN * free**2


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
    filler = _Filler(max_chars)
    for word in words:
        filler.add(word.word)
    return filler.lines


class _Filler:
    """Words filled into lines, one by one; a word longer than a line has one for itself."""

    def __init__(self, max_chars: int) -> None:
        self._max_chars = max_chars
        self._full: list[str] = []
        self._line = ""
        self._width = 0

    @property
    def count(self) -> int:
        """How many lines there are; none is empty."""
        return len(self._full) + bool(self._line)

    @property
    def lines(self) -> list[str]:
        """What they hold."""
        return [*self._full, self._line.rstrip()] if self._line else self._full

    def add(self, word: str) -> None:
        """Put a word into the last line, or into a new one."""
        shown = word.rstrip()
        if self._line and shown and self._width + _width(shown) > self._max_chars:
            self._full.append(self._line.rstrip())
            self._line, self._width = "", 0
        text = word if self._line else word.lstrip()
        self._line += text
        self._width += _width(text)


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
