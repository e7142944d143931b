"""Where words stand in time, and which runs of words are lost or said twice.

Knows: word times, alignments.
Must not know: normalisers, systems' names, reports.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ops.accuracy.metrics import align
from ops.accuracy.timed import TimedText
from ops.accuracy.transcripts import Hypothesis

MIN_RUN = 3
"""Fewer lost or added words in a row are ordinary recognition errors."""


@dataclass(frozen=True, slots=True)
class StartDifferences:
    """Word starts against others, in seconds; None where no word matched."""

    matched: int
    words: int
    median_abs: float | None
    p95_abs: float | None
    median: float | None


@dataclass(frozen=True, slots=True)
class Run:
    """Words lost or added in a row; `doubled` if they repeat their neighbours.

    `time` is where in the recording, in seconds, as the system's own times say; None if unknown.
    """

    tag: str
    text: str
    words: int
    time: float | None


def plain(word: str) -> str:
    """Letters and digits alone, without case: the form in which systems' words are matched."""
    return "".join(character for character in word.casefold() if character.isalnum())


Words = Sequence[TimedText]


def start_differences(pairs: Sequence[tuple[Words, Words]]) -> StartDifferences:
    """How far words of the first sequence start from the same words of the second."""
    differences: list[float] = []
    total = 0
    for ours, theirs in pairs:
        total += len(theirs)
        for edit in align([plain(w.text) for w in theirs], [plain(w.text) for w in ours]):
            if edit.tag == "equal":
                differences += [
                    ours[i].start - theirs[j].start
                    for i, j in zip(
                        range(edit.hypothesis_start, edit.hypothesis_end),
                        range(edit.reference_start, edit.reference_end),
                        strict=True,
                    )
                ]
    if not differences:
        return StartDifferences(0, total, None, None, None)
    distances = np.abs(differences)
    return StartDifferences(
        matched=len(differences),
        words=total,
        median_abs=float(np.median(distances)),
        p95_abs=float(np.percentile(distances, 95)),
        median=float(np.median(differences)),
    )


def runs(reference: Sequence[str], tokens: Sequence[str], hypothesis: Hypothesis) -> list[Run]:
    """Runs of at least `MIN_RUN` lost or added words, in order.

    Args:
        reference: normalised words.
        tokens: the hypothesis's normalised words.
        hypothesis: gives the times.
    """
    times = _token_times(tokens, hypothesis)
    found = []
    for edit in align(reference, tokens):
        if edit.tag == "delete":
            words = reference[edit.reference_start : edit.reference_end]
            tag = "lost"
        elif edit.tag == "insert":
            words = tokens[edit.hypothesis_start : edit.hypothesis_end]
            tag = "doubled" if _repeats(tokens, edit.hypothesis_start, len(words)) else "added"
        else:
            continue
        if len(words) >= MIN_RUN:
            place = min(edit.hypothesis_start, len(times) - 1)
            time = times[place] if times else None
            found.append(Run(tag, " ".join(words), len(words), time))
    return found


def _repeats(tokens: Sequence[str], start: int, length: int) -> bool:
    """Whether tokens[start:start + length] stands once more right before or right after."""
    run = tokens[start : start + length]
    before = tokens[max(start - length, 0) : start]
    after = tokens[start + length : start + 2 * length]
    return run in (before, after)


def _token_times(tokens: Sequence[str], hypothesis: Hypothesis) -> list[float | None]:
    """A start for each token: its own word's, else the last known one before it."""
    timed = hypothesis.words or _spread(hypothesis.segments)
    times: list[float | None] = [None] * len(tokens)
    for edit in align([plain(word.text) for word in timed], [plain(token) for token in tokens]):
        if edit.tag == "equal":
            for i, j in zip(
                range(edit.reference_start, edit.reference_end),
                range(edit.hypothesis_start, edit.hypothesis_end),
                strict=True,
            ):
                times[j] = timed[i].start
    last: float | None = None
    for index, time in enumerate(times):
        last = times[index] = last if time is None else time
    return times


def _spread(segments: Sequence[TimedText]) -> list[TimedText]:
    """A segment's words at even steps over its time, for systems without word times."""
    spread = []
    for segment in segments:
        words = segment.text.split()
        step = (segment.end - segment.start) / max(len(words), 1)
        spread += [
            TimedText(segment.start + i * step, segment.start + (i + 1) * step, word)
            for i, word in enumerate(words)
        ]
    return spread
