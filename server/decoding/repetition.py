"""Loops: the same words again and again, as a model writes when it has lost the thread.

Knows: sequences of words.
Must not know: audio. Only text that failed the compression gate at every temperature gets here,
since people repeat themselves too.
"""

from collections.abc import Sequence

MAX_UNIT = 30
"""Words in the longest phrase that counts as one loop's body."""


def loop_mask(words: Sequence[str]) -> list[bool]:
    """Which words to keep: of each loop only its first round.

    A loop is a phrase at least three times in a row; a single word or a pair at least four
    times.
    """
    keep = [True] * len(words)
    at = 0
    while at < len(words):
        size, rounds = _loop_at(words, at)
        if size:
            end = at + size * rounds
            keep[at + size : end] = [False] * (end - at - size)
            at = end
        else:
            at += 1
    return keep


def _loop_at(words: Sequence[str], at: int) -> tuple[int, int]:
    """The body's size and the number of rounds of a loop that starts here; (0, 0) if none."""
    for size in range(1, min(MAX_UNIT, (len(words) - at) // 3) + 1):
        body = words[at : at + size]
        rounds = 1
        while words[at + rounds * size : at + (rounds + 1) * size] == body:
            rounds += 1
        if rounds >= (4 if size <= 2 else 3):
            return size, rounds
    return 0, 0
