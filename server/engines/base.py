"""The engine interface: the one seam between Whisper as a model and everything around it.

Knows: log-mel in, token ids out.
Must not know: HTTP, media, VAD, text, formats.
"""

import math
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from server.types import (
    Alignment,
    AlignmentRequest,
    GenerationRequest,
    GenerationResult,
    LanguageDetection,
)


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What is loaded.

    `max_in_flight` is how many windows are worth submitting at once, `max_in_flight_s` how many
    seconds of audio in them: what waits inside an engine can no longer be overtaken. `spare` is
    how many calls of short recordings may come on top, and will not have to wait inside;
    `aligns` whether `align` can be had. `min_frames` is how many log-mel frames a window has at
    least: 3000 where the encoder takes nothing but Whisper's whole view.
    """

    name: str
    model: str
    n_mels: int
    languages: Sequence[str]
    max_in_flight: int
    seedable: bool
    max_in_flight_s: float = math.inf
    spare: int = 0
    aligns: bool = True
    min_frames: int = 3000


@dataclass(frozen=True, slots=True)
class EngineStats:
    """A snapshot: windows that wait, and windows being computed.

    `kv_cache_used` is the share of the fullest cache of keys and values that is in use, where the
    engine has such a cache and tells.
    """

    waiting: int
    running: int
    healthy: bool
    kv_cache_used: float | None = None


class Engine(Protocol):
    """One loaded Whisper.

    Thread-safe and non-blocking. Every Future ends: with a result, an `EngineError`, a
    `DeadlineExceeded` or cancelled, also on `close()`. The order of completion is free.
    """

    @property
    def info(self) -> EngineInfo:
        """What is loaded; constant, but for the places of an engine of many machines.

        `max_in_flight`, `max_in_flight_s` and `spare` follow the machines that are there: who
        hands windows out asks each time.
        """
        ...

    def generate(self, request: GenerationRequest) -> Future[GenerationResult]:
        """Decode one window."""
        ...

    def detect_language(self, request: GenerationRequest) -> Future[LanguageDetection]:
        """Probability of each language in one window; the request's prompt is ignored."""
        ...

    def align(self, request: AlignmentRequest) -> Future[Alignment]:
        """Place text tokens in time."""
        ...

    def cancel(self, request_id: int) -> None:
        """Drop what waits under this id; best effort, idempotent."""
        ...

    def stats(self) -> EngineStats:
        """A snapshot for health and metrics."""
        ...

    def close(self, timeout: float) -> None:
        """Stop; whatever has not ended in `timeout` seconds ends with an error."""
        ...
