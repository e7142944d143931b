"""One span of a recording: window by window to segments, and what nobody said left out.

Knows: two ways to move through a span, and where to go on when a model stops early.
Must not know: how spans were cut, how they are put together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from server.audio.windows import is_as_loud
from server.decoding.guard import MIN_VOICE, plain, suspect_segment
from server.decoding.language_choice import language_of_window, restrict
from server.decoding.repetition import loop_mask
from server.decoding.segments import split
from server.decoding.sentences import group_words
from server.decoding.timing import Timing, add_words, in_order, shorten_after_pause, tidy
from server.decoding.tokenizer import TIME_PRECISION, Tokenizer
from server.types import SAMPLE_RATE, DecodingResult, OnSegments, Segment, SpeechSegment, Window
from server.window_decoder import HOP, Job, WindowDecoder

N_SAMPLES = 30 * SAMPLE_RATE

MIN_REST = 2 * SAMPLE_RATE
"""What a model left out of a window is looked at again from 2 s on."""

RESET_TEMPERATURE = 0.5
"""Above it a text is too uncertain to be the next window's context (openai-whisper)."""

UNLIKELY = 0.4
"""A segment whose words are less likely than this on average needs voice under it."""

MARGIN = 0.2
"""Seconds around a segment in which its voice may lie: word times are not exact."""


@dataclass(slots=True)
class _Context:
    """What a window knows of those before it: their text, and where it ended."""

    previous: tuple[int, ...]
    last_speech_end: float


class SpanDecoder:
    """Turns spans into segments; shared by all requests."""

    def __init__(self, windows: WindowDecoder, tokenizer: Tokenizer) -> None:
        self._windows = windows
        self._tokenizer = tokenizer

    async def decode(
        self, job: Job, span: SpeechSegment, prompt: tuple[int, ...], on_segments: OnSegments
    ) -> None:
        """Tell the segments of a span, in order, in seconds of the recording.

        A window's text is decoded without timestamp tokens and its words are placed by
        alignment (ADR 8). Where that cannot be done, the model's own timestamps say where to go
        on: in a span that is longer than a window, in a translation, whose words are not
        spoken, and in `accurate` mode, which hands each window the text before it.
        """
        segments: list[Segment] = []
        context = _Context(prompt, span.start / SAMPLE_RATE)
        todo = [span]
        while todo:
            segments = _hand_on(segments, todo[0].start / SAMPLE_RATE, on_segments)
            stretch = todo.pop(0)
            end = min(stretch.start + N_SAMPLES, stretch.end)
            after = [SpeechSegment(end, stretch.end)] if end < stretch.end else []
            if job.is_silent(stretch.start, end):
                todo = after + todo
                job.on_progress((end - stretch.start) / SAMPLE_RATE)
                continue
            window = await self._windows.window(job, stretch.start, end)
            language = await self._language(job, window)
            if after or job.options.task == "translate" or job.options.mode == "accurate":
                found, stopped = await self._by_timestamps(job, window, language, context)
                after = [SpeechSegment(_next_start(job, window, stopped), stretch.end)]
            else:
                found, after = await self._by_alignment(job, window, language, context)
            todo = [rest for rest in after if rest.start < rest.end] + todo
            job.on_progress((end - stretch.start) / SAMPLE_RATE)
            kept = [segment for segment in found if await self._is_said(job, segment)]
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

    async def _by_alignment(
        self, job: Job, window: Window, language: str, context: _Context
    ) -> tuple[list[Segment], list[SpeechSegment]]:
        """Segments made of aligned words, and where there is sound without a word."""
        result = await self._windows.decode(
            job, window, language, previous=context.previous, without_timestamps=True
        )
        context.previous = ()
        if result.dropped:
            return [], []
        placed = await self._windows.place_words(job, window, result.tokens, result)
        words, typical = tidy(placed, window.time_offset)
        if not words:
            return [], []
        shorten_after_pause(words, typical, context.last_speech_end)
        unheard = _unheard(job, window, words, typical)
        tokens = [token for token in result.tokens if token < self._tokenizer.eot]
        runs = _runs(words, tokens)
        if result.compression_ratio > job.options.compression_ratio_threshold:
            runs = _without_loops(job, runs)
        segments = []
        for group in group_words([word for word, _ in runs]):
            taken, runs = runs[: len(group)], runs[len(group) :]
            segments.append(self._segment_of_words(window, result, taken))
        return segments, unheard

    async def _by_timestamps(
        self, job: Job, window: Window, language: str, context: _Context
    ) -> tuple[list[Segment], int]:
        """Segments as the model's timestamps cut them, and the sample at which it stopped."""
        result = await self._windows.decode(job, window, language, previous=context.previous)
        if result.dropped:
            return [], window.end
        parts = split(result.tokens, self._tokenizer, window.duration)
        offset = window.time_offset
        segments = [
            self._segment(window, result, offset + piece.start, offset + piece.end, piece.tokens)
            for piece in parts.pieces
        ]
        segments = [segment for segment in segments if segment.text.strip()]
        keep_context = job.options.mode == "accurate" and result.temperature <= RESET_TEMPERATURE
        said = tuple(token for segment in segments for token in segment.tokens)
        context.previous = (*context.previous, *said) if keep_context else ()
        if job.options.word_timestamps and segments:
            placed = await self._windows.place_words(job, window, said, result)
            segments = add_words(
                segments,
                placed,
                time_offset=offset,
                last_speech_end=context.last_speech_end,
                eot=self._tokenizer.eot,
            )
        return segments, window.start + round(parts.resume * SAMPLE_RATE)

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

    def _segment_of_words(
        self,
        window: Window,
        result: DecodingResult,
        runs: Sequence[tuple[Timing, Sequence[int]]],
    ) -> Segment:
        """Timestamp tokens are added at both ends, where Whisper itself would put them."""
        words = [word for word, _ in runs]
        start, end = words[0].start, max(words[0].start, words[-1].end)
        begin = self._tokenizer.timestamp_begin
        first, last = (
            begin + round((time - window.time_offset) / TIME_PRECISION) for time in (start, end)
        )
        tokens = (first, *(token for _, run in runs for token in run), last)
        segment = self._segment(window, result, start, end, tokens)
        return replace(segment, words=in_order(words, segment.start, segment.end))

    def _segment(
        self,
        window: Window,
        result: DecodingResult,
        start: float,
        end: float,
        tokens: tuple[int, ...],
    ) -> Segment:
        return Segment(
            id=0,
            seek=window.start // HOP,
            start=round(start, 2),
            end=round(end, 2),
            text=self._tokenizer.decode(tokens),
            tokens=tokens,
            temperature=result.temperature,
            avg_logprob=result.avg_logprob,
            compression_ratio=result.compression_ratio,
            no_speech_prob=result.no_speech_prob,
        )


def _hand_on(segments: Sequence[Segment], until: float, on_segments: OnSegments) -> list[Segment]:
    """Tell those that start before `until`, where decoding goes on; the others are left."""
    ordered = sorted(segments, key=lambda segment: segment.start)
    count = sum(segment.start < until for segment in ordered)
    on_segments(ordered[:count])
    return ordered[count:]


def _runs(words: Sequence[Timing], tokens: Sequence[int]) -> list[tuple[Timing, Sequence[int]]]:
    """Each word with its tokens."""
    runs = []
    at = 0
    for word in words:
        runs.append((word, tokens[at : at + word.n_tokens]))
        at += word.n_tokens
    return runs


def _without_loops(
    job: Job, runs: list[tuple[Timing, Sequence[int]]]
) -> list[tuple[Timing, Sequence[int]]]:
    """Of each loop only the first round; what goes is noted."""
    keep = loop_mask([plain(word.word) for word, _ in runs])
    gone = [word for (word, _), kept in zip(runs, keep, strict=True) if not kept]
    if gone:
        job.drop(gone[0].start, gone[-1].end, "repetition")
    return [run for run, kept in zip(runs, keep, strict=True) if kept]


def _unheard(
    job: Job, window: Window, words: Sequence[Timing], typical: float
) -> list[SpeechSegment]:
    """Stretches of the window that are as loud as its words and hold none.

    A model that stops early, or that cannot follow a change of language, leaves them out. The
    alignment gives such a stretch to the word before it, so a word counts for twice the
    typical length at most.
    """
    ends = [window.time_offset, *(min(word.end, word.start + 2 * typical) for word in words)]
    starts = [*(word.start for word in words), window.time_offset + window.duration]
    heard = job.level_of(round(words[0].start * SAMPLE_RATE), round(words[-1].end * SAMPLE_RATE))
    found = []
    for end, start in zip(ends, starts, strict=True):
        gap = SpeechSegment(round(end * SAMPLE_RATE), round(start * SAMPLE_RATE))
        worth_it = MIN_REST <= gap.end - gap.start <= window.end - window.start - MIN_REST
        if worth_it and is_as_loud(job.level_of(gap.start, gap.end), heard):
            found.append(gap)
    return found


def _next_start(job: Job, window: Window, stopped: int) -> int:
    """Where to go on: after the window, or where the model stopped inside it.

    It is taken at its word when the rest is short or far below the level of what it heard. A
    stop at the very start would be met again for ever.
    """
    rest_is_short = window.end - stopped < MIN_REST
    stuck = stopped - window.start < MIN_REST
    if rest_is_short or stuck:
        return window.end
    heard = job.level_of(window.start, stopped)
    rest = job.level_of(stopped, window.end)
    return stopped if is_as_loud(rest, heard) else window.end
