"""A piece of text with its place in a recording.

Knows: seconds.
Must not know: who said where it is.
"""

from pydantic.dataclasses import dataclass


@dataclass(frozen=True)
class TimedText:
    """A word or a segment with its place in seconds."""

    start: float
    end: float
    text: str
