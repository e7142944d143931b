"""The segments of spans that are decoded side by side, brought into the recording's order.

Knows: which spans are done, and what may be told already.
Must not know: how segments are found, or who listens.
"""

from collections.abc import Sequence
from dataclasses import replace

from server.types import OnSegments, Segment


class SegmentOrder:
    """Takes segments span by span, in any order of spans; numbers them and hands them on."""

    def __init__(
        self, spans: int, *, word_timestamps: bool, on_segments: OnSegments | None
    ) -> None:
        self.segments: list[Segment] = []
        """What has been handed on: all of them, once every span is done."""
        self._waiting: list[list[Segment]] = [[] for _ in range(spans)]
        self._done = [False] * spans
        self._current = 0
        self._word_timestamps = word_timestamps
        self._on_segments = on_segments

    def add(self, span: int, segments: Sequence[Segment]) -> None:
        """More segments of a span, after those that it had before."""
        self._waiting[span] += segments
        self._hand_on()

    def close(self, span: int) -> None:
        """The span has no more segments."""
        self._done[span] = True
        self._hand_on()

    def _hand_on(self) -> None:
        ready: list[Segment] = []
        while self._current < len(self._waiting):
            ready += self._waiting[self._current]
            self._waiting[self._current] = []
            if not self._done[self._current]:
                break
            self._current += 1
        if not ready:
            return
        numbered = [
            replace(each, id=index, words=each.words if self._word_timestamps else ())
            for index, each in enumerate(ready, start=len(self.segments))
        ]
        self.segments += numbered
        if self._on_segments is not None:
            self._on_segments(numbered)
