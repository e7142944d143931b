"""What the edge needs of the rest of the server, as protocols.

Knows: signatures only.
Must not know: which classes stand behind them; tests put small ones there.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias

from server.engines.base import Engine
from server.kept import Keeper, Kept
from server.types import Audio, OnProgress, OnSegments, Transcript, TranscriptionOptions

Message: TypeAlias = dict[str, Any]
Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Transcriber(Protocol):
    """One model, ready for use."""

    @property
    def engine(self) -> Engine:
        """The engine beneath."""
        ...

    @property
    def waiting(self) -> int:
        """Calls of the engine that wait for their turn."""
        ...

    async def transcribe(  # noqa: PLR0913 - all by name
        self,
        audio: Audio,
        options: TranscriptionOptions,
        *,
        deadline: float | None = None,
        key_id: str = "",
        on_progress: OnProgress | None = None,
        on_segments: OnSegments | None = None,
        background: bool = False,
        kept: Kept | None = None,
        keeper: Keeper | None = None,
    ) -> Transcript:
        """The transcript; ends soon after it is cancelled. `deadline` is on `time.monotonic`.

        `key_id` is whose turn it takes; `on_progress` is told stretches that are done,
        `on_segments` its segments in order, as soon as they are settled. Jobs run in the
        `background`, go on behind what is `kept`, and give what gets done to `keeper`.
        """
        ...


class AudioLoader(Protocol):
    """Turns an open file into audio, in a sandbox."""

    @property
    def healthy(self) -> bool:
        """Whether files can be loaded at the moment."""
        ...

    async def start(self) -> tuple[str, ...]:
        """Start it (again); the names of missing sandbox layers. Raises if it cannot be had."""
        ...

    async def load(self, file_descriptor: int) -> Audio:
        """Decode the file from its start; raises BadAudio, AudioTooLong and the like."""
        ...


class Place(Protocol):
    """One request's place in the server."""

    async def hold(self, audio_s: float) -> None:
        """Wait a little for room for its audio; raises Overloaded."""
        ...

    def progress(self, audio_s: float) -> None:
        """So many more seconds of its audio are done."""
        ...


class Admission(Protocol):
    """A bounded number of transcriptions at once, and of audio in them."""

    def enter(
        self, key_id: str, max_requests: int | None = None
    ) -> AbstractAsyncContextManager[Place]:
        """A place, perhaps after a short wait; raises RateLimited, Overloaded or Draining.

        `max_requests` is what the key may have at once: 0 any number, None the server's default.
        """
        ...

    def drain(self) -> None:
        """Give out no more places."""
        ...
