"""One span of a recording: window by window to segments, and what nobody said left out.

Knows: the order of windows, and what to look at again.
Must not know: how spans were cut, how they are put together.
"""

import math
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher

from server.by_alignment import ByAlignment
from server.by_timestamps import ByTimestamps
from server.decoding.guard import needed_voice, plain, suspect_segment
from server.decoding.language_choice import languages_of_window, restrict
from server.decoding.tokenizer import Tokenizer
from server.job import Job
from server.kept import SpanState
from server.observe import traces
from server.types import SAMPLE_RATE, OnSegments, Segment, SpeechSegment, Window
from server.window_decoder import WindowDecoder
from server.window_rest import Context, Found

N_SAMPLES = 30 * SAMPLE_RATE

MAX_DEPTH = 2
"""How often what was left out of a stretch is looked at again, and again inside that."""

RESET_TEMPERATURE = 0.5
"""Above it a text is too uncertain to be the next window's context (openai-whisper)."""

UNLIKELY = 0.4
"""A segment whose words are less likely than this on average needs voice under it."""

MAX_ALIKE, ALIKE = 2, 0.75
"""So few words of a rest are the neighbour's if so much of their letters is."""

MARGIN = 0.2
"""Seconds around a segment in which its voice may lie: word times are not exact."""


class SpanDecoder:
    """Turns spans into segments; shared by all requests."""

    def __init__(self, windows: WindowDecoder, tokenizer: Tokenizer) -> None:
        self._windows = windows
        self._by_alignment = ByAlignment(windows, tokenizer)
        self._by_timestamps = ByTimestamps(windows, tokenizer)

    async def decode(
        self,
        job: Job,
        state: SpanState,
        on_segments: OnSegments,
        on_window: Callable[[SpanState], None],
    ) -> None:
        """Tell the segments of a span, in order, in seconds of the recording.

        A window's text is decoded without timestamp tokens and its words are placed by
        alignment (ADR 8); in a span that is longer than a window, the next one starts between
        two of them. Where words cannot be placed, the model's own timestamps say where to go
        on: in a translation, whose words are not spoken, with an engine that places none, and in
        `accurate` mode, which hands each window the text before it.

        `state` is where to begin, or to go on; after each window `on_window` is told the next.
        """
        segments = list(state.pending)
        context = Context(state.previous, state.last_speech_end)
        todo = list(state.todo)
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
            with traces.span("window", start=window.time_offset, seconds=window.duration):
                goes_on = end < stretch.end
                found = await self._window(job, window, context, goes_on=goes_on, depth=depth)
            again = [(rest, depth + 1) for rest in found.unheard] if depth < MAX_DEPTH else []
            todo = [*again, (SpeechSegment(found.stop, stretch.end), depth), *todo]
            if depth == 0:
                job.on_progress((found.stop - stretch.start) / SAMPLE_RATE)
            kept = [each for each in found.segments if await self._is_said(job, each)]
            if depth:
                told = sorted(segments, key=lambda segment: segment.start)
                kept = [each for each in kept if not _is_told(each, told)]
            segments += kept
            seconds = sum(each.end - each.start for each in kept)
            job.heard[found.language] = job.heard.get(found.language, 0.0) + seconds
            self._remember(job, context, found, kept)
            on_window(
                SpanState(tuple(todo), tuple(segments), context.previous, context.last_speech_end)
            )
        _hand_on(segments, math.inf, on_segments)

    async def _window(
        self, job: Job, window: Window, context: Context, *, goes_on: bool, depth: int
    ) -> Found:
        """One window in its language, by the way that suits it."""
        languages = await self._languages(job, window)
        placeable = job.options.task == "transcribe" and self._windows.engine.info.aligns
        if job.options.mode == "accurate" or not placeable:
            return await self._by_timestamps.decode(job, window, languages, context)
        return await self._by_alignment.decode(
            job, window, languages, context, goes_on=goes_on, again=depth > 0
        )

    @staticmethod
    def _remember(job: Job, context: Context, found: Found, kept: Sequence[Segment]) -> None:
        """What the next window is to know: in `accurate` mode the text, if it can be trusted."""
        if kept:
            context.last_speech_end = kept[-1].end
        trusted = job.options.mode == "accurate" and found.temperature <= RESET_TEMPERATURE
        said = tuple(token for segment in kept for token in segment.tokens)
        context.previous = (*context.previous, *said) if trusted else ()

    async def _languages(self, job: Job, window: Window) -> list[str]:
        """The recording's language, unless the caller gave none and this window has others."""
        if job.options.language:
            return [job.options.language]
        detection = await self._windows.detect_language(job, window)
        probs = restrict(detection.language_probs, job.options.languages)
        return languages_of_window(probs, job.language, window.duration)

    async def _is_said(self, job: Job, segment: Segment) -> bool:
        """Whether a segment stays: it has a word, and what looks invented has voice under it."""
        if not plain(segment.text):
            return False
        given = (job.options.prompt, job.options.hotwords)
        reason: str | None = suspect_segment(segment.text, given)
        if reason is None and segment.words:
            mean = sum(word.probability for word in segment.words) / len(segment.words)
            reason = "no_voice" if mean < UNLIKELY else None
        if reason is None:
            return True
        voiced = await self._windows.voiced(job, segment.start - MARGIN, segment.end + MARGIN)
        doubted = segment.no_speech_prob > job.options.no_speech_threshold
        if voiced >= needed_voice(segment.end - segment.start, doubted=doubted):
            return True
        job.drop(segment.start, segment.end, reason)
        return False


def _is_told(segment: Segment, segments: Sequence[Segment]) -> bool:
    """Whether the words of a rest are just the neighbour's again.

    The alignment may put a word before or after the sound that it stands for; decoded by
    itself, that sound gives the word once more, or nearly so: «181» for «1881».
    """
    words = plain(segment.text).split()
    before = [other for other in segments if other.start <= segment.start]
    after = [other for other in segments if other.start > segment.start]
    told_before = before and _is_same(words, plain(before[-1].text).split()[-len(words) :])
    told_after = after and _is_same(words, plain(after[0].text).split()[: len(words)])
    return bool(told_before or told_after)


def _is_same(words: Sequence[str], other: Sequence[str]) -> bool:
    """Whether the words are equal, or few and alike."""
    if words == other or len(words) > MAX_ALIKE:
        return words == other
    return SequenceMatcher(None, " ".join(words), " ".join(other)).ratio() >= ALIKE


def _hand_on(segments: Sequence[Segment], until: float, on_segments: OnSegments) -> list[Segment]:
    """Tell those that start before `until`, where decoding goes on; the others are left."""
    ordered = sorted(segments, key=lambda segment: segment.start)
    count = sum(segment.start < until for segment in ordered)
    on_segments(ordered[:count])
    return ordered[count:]
