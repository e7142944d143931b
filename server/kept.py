"""What of a transcription is done, so that another process can go on with it.

Knows: what a span's next window needs of those before it.
Must not know: how windows are decoded, or where anything is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from server.types import Dropped, Segment, SpeechSegment, TranscriptionStats


@dataclass(frozen=True, slots=True)
class SpanState:
    """A span between two of its windows.

    `todo` are stretches with how often they were looked at before; `pending` segments were found,
    and may yet be preceded by others; `previous` and `last_speech_end` are the next window's
    context. The rest adds up what the span's windows have found and cost, in seconds of audio.
    """

    todo: tuple[tuple[SpeechSegment, int], ...]
    pending: tuple[Segment, ...] = ()
    previous: tuple[int, ...] = ()
    last_speech_end: float = 0.0
    done_s: float = 0.0
    stats: TranscriptionStats = field(default_factory=TranscriptionStats)
    dropped: tuple[Dropped, ...] = ()
    heard: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What was found out before the first window: the language, and where spans were cut."""

    language: str
    spans: tuple[SpeechSegment, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """All that is done: by span its segments in order, and where it goes on."""

    plan: Plan | None = None
    told: Mapping[int, Sequence[Segment]] = field(default_factory=dict)
    states: Mapping[int, SpanState] = field(default_factory=dict)


class Keeper(Protocol):
    """Keeps what is done; neither call waits."""

    def plan(self, plan: Plan) -> None:
        """The first thing to be kept."""
        ...

    def window(self, span: int, told: Sequence[Segment], state: SpanState) -> None:
        """One more window of a span: its new segments, and where it goes on."""
        ...


class Forgetful:
    """Keeps nothing: for requests whose caller waits."""

    def plan(self, plan: Plan) -> None:
        """Not kept."""

    def window(self, span: int, told: Sequence[Segment], state: SpanState) -> None:
        """Not kept."""
