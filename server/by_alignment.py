"""A window's text without timestamp tokens, its words placed by cross-attention (ADR 8).

Knows: words, their times, and where a window is left for the next one.
Must not know: what comes before and after the window, which text is invented.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import numpy as np

from server.decoding.guard import plain
from server.decoding.repetition import loop_mask
from server.decoding.sentences import group_words, stop_at_a_gap
from server.decoding.timing import Timing, in_order, longest, shorten_after_pause, tidy
from server.decoding.tokenizer import TIME_PRECISION, Tokenizer
from server.job import HOP, Job
from server.types import SAMPLE_RATE, DecodingResult, Segment, Window
from server.window_decoder import WindowDecoder
from server.window_rest import MIN_STEP, Context, Found, segment_of, text_tokens, unheard

MAX_WORD = 1.5
"""Seconds: what an alignment gives a word beyond this, and beyond its own length, is a pause."""

Run: TypeAlias = tuple[Timing, Sequence[int]]
"""A word and its tokens."""


class ByAlignment:
    """Decodes windows and cuts their words into sentences; shared by all requests."""

    def __init__(self, windows: WindowDecoder, tokenizer: Tokenizer) -> None:
        self._windows = windows
        self._tokenizer = tokenizer

    async def decode(  # noqa: PLR0913 - the window and what is known of it, flags by name
        self,
        job: Job,
        window: Window,
        languages: Sequence[str],
        context: Context,
        *,
        goes_on: bool,
        again: bool,
    ) -> Found:
        """Segments made of aligned words.

        Args:
            job: the transcription.
            window: what to decode.
            languages: what is spoken there, then what it might be.
            context: the text before it, which is used up here.
            goes_on: the span is longer than the window, so that the next one starts between two
                words of this one.
            again: the window is a rest of another one; the ladder is not climbed for it.
        """
        result = await self._windows.decode(
            job,
            window,
            languages,
            previous=context.previous,
            without_timestamps=True,
            first_rung_only=again,
        )
        context.previous = ()
        placed = (
            []
            if result.dropped
            else await self._windows.place_words(job, window, result.tokens, result)
        )
        words, typical = tidy(placed, window.time_offset)
        if not words:
            return Found([], [], window.end)
        shorten_after_pause(words, typical, context.last_speech_end)
        _leave_pauses(words, typical)
        stop = window.end
        if goes_on:
            words, stop = _left_for_the_next(job, window, words)
        tokens = [token for token in result.tokens if token < self._tokenizer.eot]
        runs = _runs(words, tokens)
        if result.compression_ratio > job.options.compression_ratio_threshold:
            runs = _without_loops(job, runs)
        left = unheard(job, window, [word for word, _ in runs], typical, stop)
        segments = self._segments(window, result, runs)
        return Found(segments, left, stop, result.temperature, result.language)

    def _segments(self, window: Window, result: DecodingResult, runs: list[Run]) -> list[Segment]:
        segments = []
        for group in group_words([word for word, _ in runs]):
            taken, runs = runs[: len(group)], runs[len(group) :]
            segments.append(self._segment(window, result, taken))
        return segments

    def _segment(self, window: Window, result: DecodingResult, runs: Sequence[Run]) -> Segment:
        """Timestamp tokens are added at both ends, where Whisper itself would put them."""
        words = [word for word, _ in runs]
        start, end = words[0].start, max(words[0].start, words[-1].end)
        begin = self._tokenizer.timestamp_begin
        first, last = (
            begin + round((time - window.time_offset) / TIME_PRECISION) for time in (start, end)
        )
        tokens = (first, *(token for _, run in runs for token in run), last)
        text = self._tokenizer.decode(tokens)
        segment = segment_of(window, result, (start, end), text, tokens)
        return replace(
            segment,
            words=in_order(words, segment.start, segment.end),
            text_tokens=text_tokens(
                tokens, [prob for word in words for prob in word.token_probs], self._tokenizer
            ),
        )


def _leave_pauses(words: Sequence[Timing], typical: float) -> None:
    """A word before a long stretch without one does not last until the next."""
    for word in words:
        word.end = min(word.end, word.start + max(longest(word.word, typical), MAX_WORD))


def _left_for_the_next(job: Job, window: Window, words: list[Timing]) -> tuple[list[Timing], int]:
    """The words to keep, and the sample at which the next window starts."""
    end = window.time_offset + window.duration
    count, at = stop_at_a_gap(words, end, partial(_dip, job, window))
    stop = min(round(at * SAMPLE_RATE), window.end)
    return words[:count], max(stop, window.start + MIN_STEP)


def _dip(job: Job, window: Window, start: float, end: float) -> tuple[float, float]:
    """The quietest 10 ms between two instants; 1 is 20 dB below the window's speech."""
    first = round(start * SAMPLE_RATE) // HOP * HOP
    level = job.level_of(first, max(round(end * SAMPLE_RATE), first + HOP))
    speech = float(np.percentile(job.level_of(window.start, window.end), 80))
    at = int(level.argmin())
    depth = (speech - float(level[at])) / 20.0
    return (first + at * HOP) / SAMPLE_RATE, min(max(depth, 0.0), 1.0)


def _runs(words: Sequence[Timing], tokens: Sequence[int]) -> list[Run]:
    runs: list[Run] = []
    at = 0
    for word in words:
        runs.append((word, tokens[at : at + word.n_tokens]))
        at += word.n_tokens
    return runs


def _without_loops(job: Job, runs: list[Run]) -> list[Run]:
    """Of each loop only the first round; what goes is noted."""
    keep = loop_mask([plain(word.word) for word, _ in runs])
    gone = [word for (word, _), kept in zip(runs, keep, strict=True) if not kept]
    if gone:
        job.drop(gone[0].start, gone[-1].end, "repetition")
    return [run for run, kept in zip(runs, keep, strict=True) if kept]
