"""From one window's words to segments that end where sentences end.

Knows: punctuation, pauses and how long a segment may be.
Must not know: tokens' meaning, audio, engines.

The text of a window is decoded without timestamp tokens (ADR 8), so that segments are made from
the words' own times.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from server.decoding.timing import Timing

PAUSE = 1.0
"""Seconds without a word that end a segment."""
MAX_DURATION = 15.0
"""Seconds after which a segment is cut even inside a sentence."""
MIN_DURATION = 1.0
"""A sentence below this goes together with its neighbour."""
SLACK = 0.1
"""Word times are not exact: the dip may lie this far inside a word."""
STITCH_SECONDS = 12.0
"""How far before its end a window may be left for the next one."""
EDGE_SECONDS = 1.0
"""What ends later than this before a window's end may be cut."""

SENTENCE_ENDS = (".", "?", "!", "。", "？", "！", "…", ".”", '."', "?”", '?"', "!”", '!"')  # noqa: RUF001 - that is how they are written
CLAUSE_ENDS = (",", ";", ":", "，", "、", "；", "：", "—")  # noqa: RUF001 - that is how they are written


def group_words(words: Sequence[Timing]) -> list[list[Timing]]:
    """Cut a window's words into segments, in order; every word is in exactly one."""
    groups: list[list[Timing]] = []
    current: list[Timing] = []
    for index, word in enumerate(words):
        current.append(word)
        following = words[index + 1] if index + 1 < len(words) else None
        if following is None or _ends_here(current, following):
            groups.append(current)
            current = []
        elif following.end - current[0].start > MAX_DURATION:
            at = _best_break(current)
            groups.append(current[:at])
            current = current[at:]
    # A break inside a sentence may leave a rest when the words end there.
    return [group for group in [*groups, current] if group]


Dip = Callable[[float, float], tuple[float, float]]
"""Between two instants: the quietest one, and how quiet it is, from 0 (as speech) to 1."""


def stop_at_a_gap(words: Sequence[Timing], end: float, dip: Dip) -> tuple[int, float]:
    """Where to leave a window in whose last seconds somebody is still speaking.

    The next window starts between two words: where the sound dips, at the end of a sentence if
    there is one, and late. A word within a second of the window's end may be cut in two, and
    the last one may be placed too late: they are left to the next window.

    Args:
        words: the window's words, in order.
        end: the window's end, in the words' seconds.
        dip: finds the quietest instant.

    Returns: how many words to keep, and the instant at which to go on; all of them and `end`
        where there is no gap to choose.
    """
    gaps = list(enumerate(pairwise(words), start=1))
    chosen = _best_gap(gaps[:-1], end, dip)
    if chosen is None and words and words[-1].end > end - EDGE_SECONDS:
        # The last word may be cut in two; there is only the gap before it.
        chosen = _best_gap(gaps[-1:], end, dip)
    return chosen or (len(words), end)


def _best_gap(
    gaps: Sequence[tuple[int, tuple[Timing, Timing]]], end: float, dip: Dip
) -> tuple[int, float] | None:
    """Of gaps before the `index`th word, the best place in a window's last seconds."""
    best: tuple[float, int, float] | None = None
    for index, (before, after) in gaps:
        first = max(before.end - SLACK, end - STITCH_SECONDS)
        last = min(after.start + SLACK, end - EDGE_SECONDS)
        if first >= last:
            continue
        at, quiet = dip(first, last)
        clause = 0.3 * before.word.endswith(SENTENCE_ENDS) + 0.1 * before.word.endswith(CLAUSE_ENDS)
        late = (at - (end - STITCH_SECONDS)) / STITCH_SECONDS
        best = max(best or (-1.0, 0, 0.0), (quiet + clause + 0.3 * late, index, at))
    return best and best[1:]


def _ends_here(current: Sequence[Timing], following: Timing) -> bool:
    last = current[-1]
    if following.start - last.end >= PAUSE:
        return True
    # «Mr.», «S.», «3.», «i.e.»: a full stop that ends no sentence.
    bare = last.word.strip().rstrip(".")
    short_name = len(bare) <= 2 and bare[:1].isupper()
    abbreviation = last.word.endswith(".") and (short_name or bare.isdigit() or "." in bare)
    sentence = last.word.endswith(SENTENCE_ENDS) and not abbreviation
    return sentence and last.end - current[0].start >= MIN_DURATION


def _best_break(current: Sequence[Timing]) -> int:
    """Where to cut a sentence that is too long: after its last clause, else at its widest gap."""
    for at in range(len(current) - 1, len(current) // 3, -1):
        if current[at - 1].word.endswith(CLAUSE_ENDS):
            return at
    gaps = [
        (current[at].start - current[at - 1].end, at)
        for at in range(max(1, len(current) // 3), len(current))
    ]
    return max(gaps)[1] if gaps else len(current)
