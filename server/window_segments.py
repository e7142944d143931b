"""One window's segments: what it says, cut into sentences, and what of it is left to decode.

Knows: two ways to get from a window's tokens to segments.
Must not know: what comes before and after the window, which text is invented.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from server.audio.windows import is_as_loud
from server.decoding.guard import plain
from server.decoding.repetition import loop_mask
from server.decoding.segments import split
from server.decoding.sentences import group_words, stop_at_a_gap
from server.decoding.timing import Timing, add_words, in_order, shorten_after_pause, tidy
from server.decoding.tokenizer import TIME_PRECISION, Tokenizer
from server.types import SAMPLE_RATE, DecodingResult, Segment, SpeechSegment, Window
from server.window_decoder import HOP, Job, WindowDecoder

MIN_REST = 2 * SAMPLE_RATE
"""What a model left out of a window is looked at again from 2 s on."""

MIN_STEP = SAMPLE_RATE
"""A window whose first piece ends within its first second is not met again and again."""

RESET_TEMPERATURE = 0.5
"""Above it a text is too uncertain to be the next window's context (openai-whisper)."""


@dataclass(slots=True)
class Context:
    """What a window knows of those before it: their text, and where it ended."""

    previous: tuple[int, ...]
    last_speech_end: float


@dataclass(frozen=True, slots=True)
class Found:
    """A window's segments; where there is sound without a word; where the next one starts."""

    segments: list[Segment]
    unheard: list[SpeechSegment]
    stop: int


class WindowSegments:
    """Turns windows into segments; shared by all requests."""

    def __init__(self, windows: WindowDecoder, tokenizer: Tokenizer) -> None:
        self._windows = windows
        self._tokenizer = tokenizer

    async def by_alignment(
        self, job: Job, window: Window, language: str, context: Context, *, goes_on: bool
    ) -> Found:
        """Segments made of aligned words.

        If the span goes on, the next window starts between two words of this one.
        """
        result = await self._windows.decode(
            job, window, language, previous=context.previous, without_timestamps=True
        )
        context.previous = ()
        if result.dropped:
            return Found([], [], window.end)
        placed = await self._windows.place_words(job, window, result.tokens, result)
        words, typical = tidy(placed, window.time_offset)
        if not words:
            return Found([], [], window.end)
        shorten_after_pause(words, typical, context.last_speech_end)
        unheard = _unheard(job, window, words, typical)
        stop = window.end
        if goes_on:
            end = window.time_offset + window.duration
            count, at = stop_at_a_gap(words, end, partial(_dip, job, window))
            stop, words = min(round(at * SAMPLE_RATE), window.end), words[:count]
        tokens = [token for token in result.tokens if token < self._tokenizer.eot]
        runs = _runs(words, tokens)
        if result.compression_ratio > job.options.compression_ratio_threshold:
            runs = _without_loops(job, runs)
        segments = []
        for group in group_words([word for word, _ in runs]):
            taken, runs = runs[: len(group)], runs[len(group) :]
            segments.append(self._segment_of_words(window, result, taken))
        return Found(segments, [rest for rest in unheard if rest.end <= stop], stop)

    async def by_timestamps(
        self, job: Job, window: Window, language: str, context: Context
    ) -> Found:
        """Segments as the model's timestamps cut them; the next window starts where it stopped."""
        result = await self._windows.decode(job, window, language, previous=context.previous)
        if result.dropped:
            return Found([], [], window.end)
        parts = split(result.tokens, self._tokenizer, window.duration)
        offset = window.time_offset
        segments = [
            self._segment(window, result, offset + piece.start, offset + piece.end, piece.tokens)
            for piece in parts.pieces
        ]
        if result.compression_ratio > job.options.compression_ratio_threshold:
            segments = [self._without_inner_loop(job, segment) for segment in segments]
            segments = _without_repeats(job, segments)
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
        stopped = window.start + round(parts.resume * SAMPLE_RATE)
        if not parts.complete:
            # A piece was left open there: it is decoded whole, however short or quiet it is.
            return Found(segments, [], min(max(stopped, window.start + MIN_STEP), window.end))
        return Found(segments, [], _next_start(job, window, stopped))

    def _without_inner_loop(self, job: Job, segment: Segment) -> Segment:
        """Of a loop inside one segment only the first round."""
        keep = loop_mask([str(token) for token in segment.tokens])
        if all(keep):
            return segment
        job.drop(segment.start, segment.end, "repetition")
        tokens = tuple(t for t, kept in zip(segment.tokens, keep, strict=True) if kept)
        return replace(segment, tokens=tokens, text=self._tokenizer.decode(tokens))

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


def _dip(job: Job, window: Window, start: float, end: float) -> tuple[float, float]:
    """The quietest 10 ms between two instants; 1 is 20 dB below the window's speech."""
    first = round(start * SAMPLE_RATE) // HOP * HOP
    level = job.level_of(first, max(round(end * SAMPLE_RATE), first + HOP))
    speech = float(np.percentile(job.level_of(window.start, window.end), 80))
    at = int(level.argmin())
    depth = (speech - float(level[at])) / 20.0
    return (first + at * HOP) / SAMPLE_RATE, min(max(depth, 0.0), 1.0)


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


def _without_repeats(job: Job, segments: Sequence[Segment]) -> list[Segment]:
    """Of segments that say the same again and again only the first."""
    keep = loop_mask([plain(segment.text) for segment in segments])
    for segment, kept in zip(segments, keep, strict=True):
        if not kept:
            job.drop(segment.start, segment.end, "repetition")
    return [segment for segment, kept in zip(segments, keep, strict=True) if kept]


def _unheard(
    job: Job, window: Window, words: Sequence[Timing], typical: float
) -> list[SpeechSegment]:
    """Stretches of the window that are as loud as its words and hold none.

    A model that stops early, or that cannot follow a change of language, leaves them out. The
    alignment gives such a stretch to the word before it, so a word counts for twice the
    typical length at most. A rest of nearly the whole window would be met again for ever.
    """
    ends = [window.time_offset, *(min(word.end, word.start + 2 * typical) for word in words)]
    starts = [*(word.start for word in words), window.time_offset + window.duration]
    heard = job.level_of(round(words[0].start * SAMPLE_RATE), round(words[-1].end * SAMPLE_RATE))
    found = []
    for end, start in zip(ends, starts, strict=True):
        gap = SpeechSegment(round(end * SAMPLE_RATE), round(start * SAMPLE_RATE))
        worth_it = MIN_REST <= gap.end - gap.start <= window.end - window.start - SAMPLE_RATE
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
