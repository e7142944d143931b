"""What the speech tests compare: a clip with its words, and word errors."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from server.decoding.guard import plain
from server.types import Transcript

Transcribe = Callable[..., Transcript]
"""`transcribe(pcm, **options)`."""


@dataclass(frozen=True)
class Clip:
    """A recording, what is said in it and, for the long ones, when each sentence begins."""

    language: str
    text: str
    pcm: np.ndarray
    starts: tuple[float, ...] = ()


def word_errors(reference: str, text: str) -> int:
    """Words to insert, delete or replace to get from one to the other, case and marks aside."""
    said, heard = plain(reference).split(), plain(text).split()
    row = list(range(len(heard) + 1))
    for index, word in enumerate(said, start=1):
        before, row[0] = row[0], index
        for at, other in enumerate(heard, start=1):
            change = before + (word != other)
            before, row[at] = row[at], min(change, row[at] + 1, row[at - 1] + 1)
    return row[-1]


def error_rate(reference: str, text: str) -> float:
    """Word errors over the reference's words."""
    return word_errors(reference, text) / len(plain(reference).split())
