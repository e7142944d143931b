"""What an answer says: its body in the format that was asked for, and what comes before that.

Knows: formats, events, how an answer may begin early.
Must not know: how any of it is sent.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from server import formats
from server.cues import CueLimits
from server.http import events
from server.http.early import Early, early
from server.http.options import Wanted
from server.logprobs import LogprobDeltas
from server.types import OnSegments, Segment, Transcript


@dataclass(frozen=True, slots=True)
class Bodies:
    """Answers as the settings want them."""

    cue_limits: CueLimits
    keepalive_after: float
    keepalive_interval: float

    def early(self, wanted: Wanted, waited: float) -> Early:
        """How the answer may begin before it is known; the upload has just ended.

        Before that the connection is not silent, and a client that still sends reads nothing.
        But a small upload was sent in full while the request waited for its place.
        """
        return early(
            wanted.response_format,
            stream=wanted.stream,
            after=max(0.0, self.keepalive_after - waited),
            interval=self.keepalive_interval,
        )

    def teller(self, wanted: Wanted, push: Callable[[bytes], None]) -> OnSegments | None:
        """What to do with segments as they come: events, or the beginning of a text."""
        if not wanted.stream and wanted.response_format != "text":
            return None
        deltas, tokens = events.TextDeltas(), LogprobDeltas()

        def tell(segments: Sequence[Segment]) -> None:
            text = deltas.add(segments)
            told = tokens.add(segments) if wanted.logprobs else None
            if text:
                push(events.delta(text, told) if wanted.stream else text.encode())

        return tell

    async def render(self, transcript: Transcript, wanted: Wanted) -> formats.Body:
        """The answer, or its last event."""
        if wanted.stream:
            others = await asyncio.to_thread(
                formats.others, transcript, wanted.also, cue_limits=self.cue_limits
            )
            last = events.done(transcript, show_logprobs=wanted.logprobs, others=others)
            return formats.Body(last, events.CONTENT_TYPE)
        return await asyncio.to_thread(
            formats.render,
            transcript,
            wanted.response_format,
            wanted.granularities,
            cue_limits=self.cue_limits,
            show_dropped=wanted.show_dropped,
            show_logprobs=wanted.logprobs,
            also=wanted.also,
        )
