"""The story of a transcription: audio → spans → windows → results → Transcript.

A newcomer reads this file first. It owns the order of things and nothing else: where to cut is
`audio.windows`, one window through the engine is `window_decoder`, what its tokens mean is
`decoding`. Must not know: HTTP, formats, which engine runs.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

from server.audio.windows import cut, is_as_loud, levels
from server.decoding.fallback import is_silence
from server.decoding.prompt import encode_prompt
from server.decoding.segments import split
from server.decoding.sentences import group_words
from server.decoding.timing import Timing, add_words, in_order, shorten_after_pause, tidy
from server.decoding.tokenizer import TIME_PRECISION, Tokenizer
from server.engines.base import Engine
from server.errors import DeadlineExceeded
from server.scheduler import Scheduler, Turn
from server.types import (
    SAMPLE_RATE,
    Audio,
    DecodingResult,
    Segment,
    SpeechSegment,
    Transcript,
    TranscriptionOptions,
    Window,
)
from server.window_decoder import HOP, Job, WindowDecoder

N_SAMPLES = 30 * SAMPLE_RATE

MIN_REST = 2 * SAMPLE_RATE
"""What a model left out at the end of a window is looked at again from 2 s on."""

SURE = 0.5
"""A language less likely than this in one window is put to the vote of more windows."""
MAX_VOTES = 3


class Transcriber:
    """Transcribes recordings on one model; shared by all requests."""

    def __init__(self, scheduler: Scheduler, tokenizer: Tokenizer) -> None:
        self._scheduler = scheduler
        self._tokenizer = tokenizer
        self._decoder = WindowDecoder(scheduler, tokenizer)

    @property
    def engine(self) -> Engine:
        """The model that answers."""
        return self._scheduler.engine

    async def transcribe(
        self, audio: Audio, options: TranscriptionOptions, *, deadline: float | None = None
    ) -> Transcript:
        """Transcribe or translate a whole recording. Cancelling frees all that it holds.

        Args:
            audio: the recording.
            options: what the caller asked for; `language` None means to detect it.
            deadline: an instant of `time.monotonic()`.

        Raises:
            DeadlineExceeded: not done in time.
            EngineError: the engine failed.
        """
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            async with asyncio.timeout(left):
                with self._scheduler.turn(deadline) as turn:
                    return await self._transcribe(audio, options, turn)
        except TimeoutError:
            raise DeadlineExceeded("The transcription took longer than its limit.") from None

    async def _transcribe(
        self, audio: Audio, options: TranscriptionOptions, turn: Turn
    ) -> Transcript:
        level = await asyncio.to_thread(levels, audio.pcm)
        spans = await asyncio.to_thread(cut, level, len(audio.pcm))
        job = Job(audio, level, options, turn)
        spans = [span for span in spans if not job.is_silent(span.start, span.end)]
        job.language = options.language or await self._detect_language(job, spans)

        # Spans are independent of one another, so they are decoded side by side.
        places = asyncio.Semaphore(self.engine.info.max_in_flight)
        prompt = encode_prompt(self._tokenizer, options.prompt)
        decoded = await _gather(
            [
                self._decode_span(job, span, prompt if index == 0 else (), places)
                for index, span in enumerate(spans)
            ]
        )
        return _assemble(job, [segment for segments in decoded for segment in segments])

    async def _detect_language(self, job: Job, spans: Sequence[SpeechSegment]) -> str:
        """The likeliest language of the first span; an unsure one is put to the vote of more."""
        step = max(1, len(spans) // MAX_VOTES)
        votes: dict[str, float] = {}
        best = "en"
        for count, span in enumerate(spans[::step][:MAX_VOTES], start=1):
            end = min(span.start + N_SAMPLES, span.end)
            window = await self._decoder.window(job, span.start, end)
            detection = await self._decoder.detect_language(job, window)
            for code, probability in detection.language_probs.items():
                votes[code] = votes.get(code, 0.0) + probability
            best = max(votes, key=lambda code: votes[code])
            if votes[best] / count > SURE:
                break
        return best

    async def _decode_span(
        self, job: Job, span: SpeechSegment, prompt: tuple[int, ...], places: asyncio.Semaphore
    ) -> list[Segment]:
        """Move through a span window by window; mostly one window is all of it.

        A window's text is decoded without timestamp tokens and its words are placed by
        alignment. Where that cannot be done, the model's own timestamps say where to go on: in
        a span that is longer than a window, and in a translation, whose words are not spoken.
        """
        segments: list[Segment] = []
        start = span.start
        while start < span.end:
            end = min(start + N_SAMPLES, span.end)
            if job.is_silent(start, end):
                start = end
                continue
            async with places:
                window = await self._decoder.window(job, start, end)
                if end < span.end or job.options.task == "translate":
                    found, stopped = await self._by_timestamps(job, window, prompt)
                else:
                    found, stopped = await self._by_alignment(job, window, prompt)
            segments += found
            prompt = ()
            start = _next_start(job, window, stopped)
        return segments

    async def _by_alignment(
        self, job: Job, window: Window, prompt: tuple[int, ...]
    ) -> tuple[list[Segment], int]:
        """Segments made of aligned words, and the sample at which the last word ended."""
        result = await self._decoder.decode(job, window, previous=prompt, without_timestamps=True)
        if is_silence(result, job.options):
            job.count(dropped=1)
            return [], window.end
        placed = await self._decoder.place_words(job, window, result.tokens, result.encoded)
        words, typical = tidy(placed, window.time_offset)
        if not words:
            return [], window.end
        shorten_after_pause(words, typical, window.time_offset)
        segments = []
        at = 0
        tokens = [token for token in result.tokens if token < self._tokenizer.eot]
        for group in group_words(words):
            count = sum(word.n_tokens for word in group)
            segments.append(
                self._segment_of_words(job, window, result, group, tokens[at : at + count])
            )
            at += count
        return segments, round(words[-1].end * SAMPLE_RATE)

    async def _by_timestamps(
        self, job: Job, window: Window, prompt: tuple[int, ...]
    ) -> tuple[list[Segment], int]:
        """Segments as the model's timestamps cut them, and the sample at which it stopped."""
        result = await self._decoder.decode(job, window, previous=prompt)
        if is_silence(result, job.options):
            job.count(dropped=1)
            return [], window.end
        parts = split(result.tokens, self._tokenizer, window.duration)
        offset = window.time_offset
        segments = [
            self._segment(window, result, offset + piece.start, offset + piece.end, piece.tokens)
            for piece in parts.pieces
        ]
        segments = [segment for segment in segments if segment.text.strip()]
        if job.options.word_timestamps and segments:
            tokens = [token for segment in segments for token in segment.tokens]
            placed = await self._decoder.place_words(job, window, tokens, result.encoded)
            segments = add_words(
                segments,
                placed,
                time_offset=offset,
                last_speech_end=offset,
                eot=self._tokenizer.eot,
            )
        return segments, window.start + round(parts.resume * SAMPLE_RATE)

    def _segment_of_words(
        self,
        job: Job,
        window: Window,
        result: DecodingResult,
        words: Sequence[Timing],
        tokens: Sequence[int],
    ) -> Segment:
        """Timestamp tokens are added at both ends, where Whisper itself would put them."""
        start, end = words[0].start, max(words[0].start, words[-1].end)
        begin = self._tokenizer.timestamp_begin
        first, last = (
            begin + round((time - window.time_offset) / TIME_PRECISION) for time in (start, end)
        )
        segment = self._segment(window, result, start, end, (first, *tokens, last))
        if not job.options.word_timestamps:
            return segment
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


def _assemble(job: Job, segments: Sequence[Segment]) -> Transcript:
    numbered = tuple(replace(segment, id=index) for index, segment in enumerate(segments))
    return Transcript(
        task=job.options.task,
        language=job.language,
        duration=job.audio.duration,
        text="".join(segment.text for segment in numbered).strip(),
        segments=numbered,
        words=tuple(word for segment in numbered for word in segment.words),
        warnings=job.audio.warnings,
        stats=job.stats,
    )


async def _gather(spans: Sequence[Coroutine[Any, Any, list[Segment]]]) -> list[list[Segment]]:
    """All results in order; the first failure cancels the rest and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(span) for span in spans]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
