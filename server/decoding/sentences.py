"""From one window's words to segments that end where sentences end.

Knows: punctuation, pauses and how long a segment may be.
Must not know: tokens' meaning, audio, engines.

The text of a window is decoded without timestamp tokens (ADR 8), so that segments are made from
the words' own times.
"""

from collections.abc import Sequence

from server.decoding.timing import Timing

PAUSE = 1.0
"""Seconds without a word that end a segment."""
MAX_DURATION = 15.0
"""Seconds after which a segment is cut even inside a sentence."""
MIN_DURATION = 1.0
"""A sentence below this goes together with its neighbour."""

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
