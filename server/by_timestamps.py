"""A window's text with the model's own timestamps, which say where the next window starts.

Knows: openai-whisper's way through a recording.
Must not know: what comes before and after the window, which text is invented.
"""

from collections.abc import Sequence
from dataclasses import replace

from server.decoding.guard import plain
from server.decoding.repetition import loop_mask
from server.decoding.segments import Split, split
from server.decoding.timing import Timing, add_words, tidy
from server.decoding.tokenizer import Tokenizer
from server.job import Job
from server.types import SAMPLE_RATE, DecodingResult, Segment, Window
from server.window_decoder import WindowDecoder
from server.window_rest import (
    MIN_STEP,
    Context,
    Found,
    next_start,
    segment_of,
    text_tokens,
    unheard,
)


class ByTimestamps:
    """Decodes windows and cuts them at timestamps; shared by all requests."""

    def __init__(self, windows: WindowDecoder, tokenizer: Tokenizer) -> None:
        self._windows = windows
        self._tokenizer = tokenizer

    async def decode(
        self, job: Job, window: Window, languages: Sequence[str], context: Context
    ) -> Found:
        """Segments as the model's timestamps cut them; the next window starts where it stopped.

        A model that is given the text before the window sometimes writes a sentence of it and
        skips the rest. Where words leave sound without any, the window is decoded once more
        without that text.
        """
        found = await self._decode(job, window, languages, context)
        if found.unheard and context.previous:
            context.previous = ()
            found = await self._decode(job, window, languages, context)
        return found

    async def _decode(
        self, job: Job, window: Window, languages: Sequence[str], context: Context
    ) -> Found:
        result = await self._windows.decode(job, window, languages, previous=context.previous)
        if result.dropped:
            return Found([], [], window.end)
        parts = split(result.tokens, self._tokenizer, window.duration)
        segments = self._segments(job, window, result, parts)
        stop = _stop(job, window, parts)
        tokens = [token for segment in segments for token in segment.tokens]
        # A translation's words are not spoken: there is nothing to place them by.
        spoken = job.options.task == "transcribe"
        aligns = self._windows.engine.info.aligns
        if not segments or not aligns or not (spoken or job.options.word_timestamps):
            return Found(segments, [], stop, result.temperature, result.language)
        placed = await self._windows.place_words(job, window, tokens, result)
        words, typical = tidy([replace(each) for each in placed], window.time_offset)
        if placed:
            probs = [prob for word in placed for prob in word.token_probs]
            segments = self._with_text_tokens(segments, probs)
        left = unheard(job, window, words, typical, stop) if spoken else []
        if job.options.word_timestamps:
            segments = self._with_words(segments, placed, window, context)
        return Found(segments, left, stop, result.temperature, result.language)

    def _with_text_tokens(self, segments: list[Segment], probs: list[float]) -> list[Segment]:
        """Each segment with its share of the window's probabilities."""
        finished = []
        for segment in segments:
            count = sum(token < self._tokenizer.eot for token in segment.tokens)
            told = text_tokens(segment.tokens, probs[:count], self._tokenizer)
            finished.append(replace(segment, text_tokens=told))
            probs = probs[count:]
        return finished

    def _with_words(
        self, segments: list[Segment], placed: list[Timing], window: Window, context: Context
    ) -> list[Segment]:
        return add_words(
            segments,
            placed,
            time_offset=window.time_offset,
            last_speech_end=context.last_speech_end,
            eot=self._tokenizer.eot,
        )

    def _segments(
        self, job: Job, window: Window, result: DecodingResult, parts: Split
    ) -> list[Segment]:
        offset = window.time_offset
        segments = [
            segment_of(
                window,
                result,
                (offset + piece.start, offset + piece.end),
                self._tokenizer.decode(piece.tokens),
                piece.tokens,
            )
            for piece in parts.pieces
        ]
        if result.compression_ratio > job.options.compression_ratio_threshold:
            segments = [self._without_inner_loop(job, segment) for segment in segments]
            segments = _without_repeats(job, segments)
        return [segment for segment in segments if segment.text.strip()]

    def _without_inner_loop(self, job: Job, segment: Segment) -> Segment:
        """Of a loop inside one segment only the first round."""
        keep = loop_mask([str(token) for token in segment.tokens])
        if all(keep):
            return segment
        job.drop(segment.start, segment.end, "repetition")
        tokens = tuple(t for t, kept in zip(segment.tokens, keep, strict=True) if kept)
        return replace(segment, tokens=tokens, text=self._tokenizer.decode(tokens))


def _stop(job: Job, window: Window, parts: Split) -> int:
    stopped = window.start + round(parts.resume * SAMPLE_RATE)
    if parts.complete:
        return next_start(job, window, stopped)
    # A piece was left open there: it is decoded whole, however short or quiet it is.
    return min(max(stopped, window.start + MIN_STEP), window.end)


def _without_repeats(job: Job, segments: Sequence[Segment]) -> list[Segment]:
    """Of segments that say the same again and again only the first."""
    keep = loop_mask([plain(segment.text) for segment in segments])
    for segment, kept in zip(segments, keep, strict=True):
        if not kept:
            job.drop(segment.start, segment.end, "repetition")
    return [segment for segment, kept in zip(segments, keep, strict=True) if kept]
