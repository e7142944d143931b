"""One span of a recording: window by window to segments, and what nobody said left out.

Knows: the order of windows, and what to look at again.
Must not know: how spans were cut, how they are put together.
"""

import math
from collections.abc import Sequence

from server.decoding.guard import MIN_VOICE, suspect_segment
from server.decoding.language_choice import language_of_window, restrict
from server.decoding.tokenizer import Tokenizer
from server.types import SAMPLE_RATE, OnSegments, Segment, SpeechSegment, Window
from server.window_decoder import Job, WindowDecoder
from server.window_segments import Context, WindowSegments

N_SAMPLES = 30 * SAMPLE_RATE

MAX_DEPTH = 2
"""How often what was left out of a stretch is looked at again, and again inside that."""

UNLIKELY = 0.4
"""A segment whose words are less likely than this on average needs voice under it."""

MARGIN = 0.2
"""Seconds around a segment in which its voice may lie: word times are not exact."""


class SpanDecoder:
    """Turns spans into segments; shared by all requests."""

    def __init__(self, windows: WindowDecoder, tokenizer: Tokenizer) -> None:
        self._windows = windows
        self._segments = WindowSegments(windows, tokenizer)

    async def decode(
        self, job: Job, span: SpeechSegment, prompt: tuple[int, ...], on_segments: OnSegments
    ) -> None:
        """Tell the segments of a span, in order, in seconds of the recording.

        A window's text is decoded without timestamp tokens and its words are placed by
        alignment (ADR 8); in a span that is longer than a window, the next one starts between
        two of them. Where words cannot be placed, the model's own timestamps say where to go
        on: in a translation, whose words are not spoken, and in `accurate` mode, which hands
        each window the text before it.
        """
        segments: list[Segment] = []
        context = Context(prompt, span.start / SAMPLE_RATE)
        todo = [(span, 0)]
        while todo:
            segments = _hand_on(segments, todo[0][0].start / SAMPLE_RATE, on_segments)
            stretch, depth = todo.pop(0)
            if stretch.start >= stretch.end:
                continue
            end = min(stretch.start + N_SAMPLES, stretch.end)
            if job.is_silent(stretch.start, end):
                todo.insert(0, (SpeechSegment(end, stretch.end), depth))
                job.on_progress((end - stretch.start) / SAMPLE_RATE)
                continue
            window = await self._windows.window(job, stretch.start, end)
            language = await self._language(job, window)
            if job.options.task == "translate" or job.options.mode == "accurate":
                found = await self._segments.by_timestamps(job, window, language, context)
            else:
                found = await self._segments.by_alignment(
                    job, window, language, context, goes_on=end < stretch.end
                )
            again = [(rest, depth + 1) for rest in found.unheard] if depth < MAX_DEPTH else []
            todo = [*again, (SpeechSegment(found.stop, stretch.end), depth), *todo]
            if depth == 0:
                job.on_progress((found.stop - stretch.start) / SAMPLE_RATE)
            kept = [each for each in found.segments if await self._is_said(job, each)]
            segments += kept
            if kept:
                context.last_speech_end = kept[-1].end
        _hand_on(segments, math.inf, on_segments)

    async def _language(self, job: Job, window: Window) -> str:
        """The recording's language, unless the caller gave none and this window has another."""
        if job.options.language:
            return job.options.language
        detection = await self._windows.detect_language(job, window)
        probs = restrict(detection.language_probs, job.options.languages)
        return language_of_window(probs, job.language, window.duration)

    async def _is_said(self, job: Job, segment: Segment) -> bool:
        """Whether a segment stays: what looks invented needs voice under it."""
        reason: str | None = suspect_segment(segment.text, job.options.prompt)
        if reason is None and segment.words:
            mean = sum(word.probability for word in segment.words) / len(segment.words)
            reason = "no_voice" if mean < UNLIKELY else None
        if reason is None:
            return True
        voiced = await self._windows.voiced(job, segment.start - MARGIN, segment.end + MARGIN)
        if voiced >= MIN_VOICE:
            return True
        job.drop(segment.start, segment.end, reason)
        return False


def _hand_on(segments: Sequence[Segment], until: float, on_segments: OnSegments) -> list[Segment]:
    """Tell those that start before `until`, where decoding goes on; the others are left."""
    ordered = sorted(segments, key=lambda segment: segment.start)
    count = sum(segment.start < until for segment in ordered)
    on_segments(ordered[:count])
    return ordered[count:]
