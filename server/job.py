"""One transcription under way: what its windows share.

Knows: the recording, its levels, the options, and what was found out and spent so far.
Must not know: how a window is decoded, or in which order.
"""

import asyncio
from dataclasses import dataclass, field, fields, replace

from server.audio.windows import Decibels, is_silent
from server.scheduler import Turn
from server.types import (
    FRAMES_PER_SECOND,
    SAMPLE_RATE,
    Alignment,
    Audio,
    Dropped,
    Encoded,
    GenerationResult,
    LanguageDetection,
    OnProgress,
    TranscriptionOptions,
    TranscriptionStats,
    Window,
)

HOP = SAMPLE_RATE // FRAMES_PER_SECOND


@dataclass(slots=True)
class Job:
    """One transcription under way.

    `encoded` keeps what language detection has computed: by window, the view of it and its
    encoding. `heard` are seconds of speech by language. Features are computed `one_by_one`: they
    take milliseconds, and so the engine gets the beginning of the recording first. What starts
    before sample `urgent_until` is read along while the rest is still to be done. `beside` is how
    many of its windows are decoded side by side.
    """

    audio: Audio
    level: Decibels
    options: TranscriptionOptions
    turn: Turn
    on_progress: OnProgress
    language: str = ""
    urgent_until: int = 0
    beside: int = 1
    stats: TranscriptionStats = field(default_factory=TranscriptionStats)
    dropped: list[Dropped] = field(default_factory=list)
    encoded: dict[tuple[int, int], tuple[Window, Encoded | None]] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)
    one_by_one: asyncio.Lock = field(default_factory=asyncio.Lock)

    def level_of(self, start: int, end: int) -> Decibels:
        """Levels of samples `start` to `end`."""
        return self.level[start // HOP : -(-end // HOP)]

    def is_silent(self, start: int, end: int) -> bool:
        """Whether samples `start` to `end` hold nothing audible."""
        return is_silent(self.level_of(start, end))

    def drop(self, start: float, end: float, reason: str) -> None:
        """Note that the text between two seconds was left out."""
        self.dropped.append(Dropped(round(start, 2), round(end, 2), reason))

    def spent(self, result: GenerationResult | LanguageDetection | Alignment) -> None:
        """Add what a call of the engine cost."""
        self.stats = replace(
            self.stats,
            queue_s=self.stats.queue_s + result.queue_s,
            compute_s=self.stats.compute_s + result.compute_s,
            calls=self.stats.calls + 1,
            batched=self.stats.batched + result.batch_size,
        )

    def count(self, *, windows: int = 0, fallbacks: int = 0) -> None:
        """Add to the statistics."""
        self.stats = replace(
            self.stats,
            windows=self.stats.windows + windows,
            fallbacks=self.stats.fallbacks + fallbacks,
        )

    def add(self, part: "Job") -> None:
        """What a part of the recording has found and cost, counted by itself."""
        self.dropped += part.dropped
        for code, seconds in part.heard.items():
            self.heard[code] = self.heard.get(code, 0.0) + seconds
        spent = {
            each.name: getattr(self.stats, each.name) + getattr(part.stats, each.name)
            for each in fields(TranscriptionStats)
        }
        self.stats = TranscriptionStats(**spent)
