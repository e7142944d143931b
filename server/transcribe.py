"""The story of a transcription: audio → spans → windows → results → Transcript.

A newcomer reads this file first. It owns the order of things and nothing else: where to cut is
`audio.windows`, what the engine hears is `audio.features`, whose turn it is `scheduler`, what
the tokens mean `decoding`. Must not know: HTTP, formats, which engine runs.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from server.audio.features import log_mel
from server.audio.windows import Decibels, cut, is_silent, levels
from server.decoding.fallback import (
    best_attempt,
    compression_ratio,
    generation_options,
    is_silence,
    needs_fallback,
    rank,
)
from server.decoding.prompt import build_prompt, encode_prompt
from server.decoding.segments import Piece, Split, split
from server.decoding.timing import add_words, place_words
from server.decoding.tokenizer import Tokenizer
from server.engines.base import Engine
from server.errors import DeadlineExceeded
from server.scheduler import Scheduler, Turn
from server.types import (
    SAMPLE_RATE,
    AlignmentRequest,
    Audio,
    DecodingResult,
    Encoded,
    GenerationRequest,
    LanguageDetection,
    LogMel,
    Segment,
    SpeechSegment,
    Transcript,
    TranscriptionOptions,
    TranscriptionStats,
)

N_SAMPLES = 30 * SAMPLE_RATE
HOP = SAMPLE_RATE // 100

MIN_REMAINDER = SAMPLE_RATE
"""A rest of a window shorter than 1 s is not worth another look."""

SURE = 0.5
"""A language less likely than this in one window is put to the vote of more windows."""
MAX_VOTES = 3


@dataclass(slots=True)
class _Job:
    """One transcription under way."""

    audio: Audio
    level: Decibels
    options: TranscriptionOptions
    turn: Turn
    language: str = ""
    stats: TranscriptionStats = field(default_factory=TranscriptionStats)
    encoded: dict[tuple[int, int], Encoded] = field(default_factory=dict)

    def is_silent(self, start: int, end: int) -> bool:
        """Whether samples `start` to `end` hold nothing audible."""
        return is_silent(self.level[start // HOP : -(-end // HOP)])


class Transcriber:
    """Transcribes recordings on one model; shared by all requests."""

    def __init__(self, scheduler: Scheduler, tokenizer: Tokenizer) -> None:
        self._scheduler = scheduler
        self._tokenizer = tokenizer

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
        job = _Job(audio, level, options, turn)
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

    async def _detect_language(self, job: _Job, spans: Sequence[SpeechSegment]) -> str:
        """The likeliest language of the first span; an unsure one is put to the vote of more."""
        if not spans:
            return "en"
        step = max(1, len(spans) // MAX_VOTES)
        votes: dict[str, float] = {}
        for count, span in enumerate(spans[::step][:MAX_VOTES], start=1):
            end = min(span.start + N_SAMPLES, span.end)
            features = await self._features(job, span.start, end)
            request = GenerationRequest(
                job.turn.request_id, (), generation_options(job.options, 0.0, ()), features
            )
            detection: LanguageDetection = await self._scheduler.run(
                job.turn,
                lambda request=request: self.engine.detect_language(request),  # type: ignore[misc]
            )
            # The encoder's work is not done twice.
            job.encoded[span.start, end] = detection.encoded
            for code, probability in detection.language_probs.items():
                votes[code] = votes.get(code, 0.0) + probability
            best = max(votes, key=lambda code: votes[code])
            if votes[best] / count > SURE:
                break
        return best

    async def _decode_span(
        self, job: _Job, span: SpeechSegment, prompt: tuple[int, ...], places: asyncio.Semaphore
    ) -> list[Segment]:
        """Move through a span from timestamp to timestamp; mostly one window is all of it."""
        segments: list[Segment] = []
        start = span.start
        while start < span.end:
            end = min(start + N_SAMPLES, span.end)
            if job.is_silent(start, end):
                start = end
                continue
            async with places:
                found, resume = await self._decode_window(job, start, end, prompt)
            segments += found
            prompt = ()
            start = self._next_start(job, start, end, resume)
        return segments

    @staticmethod
    def _next_start(job: _Job, start: int, end: int, resume: Split | None) -> int:
        """Where to go on: after the window, or where the model stopped inside it."""
        if resume is None:
            return end
        stopped = start + round(resume.resume * SAMPLE_RATE)
        heard_all = end - stopped < MIN_REMAINDER or job.is_silent(stopped, end)
        # A stop at the very start would be met again for ever.
        stuck = stopped - start < MIN_REMAINDER
        return end if heard_all or stuck else stopped

    async def _decode_window(
        self, job: _Job, start: int, end: int, prompt: tuple[int, ...]
    ) -> tuple[list[Segment], Split | None]:
        """Segments of samples `start` to `end`, and where the model stopped (None: silence)."""
        features = await self._features(job, start, end)
        encoded = job.encoded.pop((start, end), None)
        result = await self._decode_with_fallback(job, features, encoded, prompt)
        job.stats = replace(job.stats, windows=job.stats.windows + 1)
        if is_silence(result, job.options):
            job.stats = replace(job.stats, dropped=job.stats.dropped + 1)
            return [], None
        parts = split(result.tokens, self._tokenizer, (end - start) / SAMPLE_RATE)
        segments = [
            segment
            for piece in parts.pieces
            if (segment := self._segment(piece, result, start)).text.strip()
        ]
        if job.options.word_timestamps and segments:
            segments = await self._add_words(job, segments, result, (start, end), features)
        return segments, parts

    async def _decode_with_fallback(
        self, job: _Job, features: LogMel, encoded: Encoded | None, prompt: tuple[int, ...]
    ) -> DecodingResult:
        """Climb the temperature ladder until a result passes the gates."""
        attempts: list[DecodingResult] = []
        for temperature in job.options.temperatures:
            request = GenerationRequest(
                request_id=job.turn.request_id,
                prompt=build_prompt(self._tokenizer, job.language, job.options.task, prompt),
                options=generation_options(
                    job.options, temperature, self._tokenizer.suppress_tokens
                ),
                features=features,
                encoded=encoded,
                deadline=job.turn.deadline,
            )
            attempt = await self._generate(job, request)
            encoded = attempt.encoded
            if not needs_fallback(attempt, job.options):
                return attempt
            attempts.append(attempt)
            job.stats = replace(job.stats, fallbacks=job.stats.fallbacks + 1)
        return best_attempt(attempts, job.options)

    async def _generate(self, job: _Job, request: GenerationRequest) -> DecodingResult:
        generation = await self._scheduler.run(job.turn, lambda: self.engine.generate(request))
        job.stats = replace(
            job.stats,
            queue_s=job.stats.queue_s + generation.queue_s,
            compute_s=job.stats.compute_s + generation.compute_s,
        )
        best = rank(generation.hypotheses)
        text = self._tokenizer.decode(best.tokens).strip()
        return DecodingResult(
            language=job.language,
            tokens=best.tokens,
            text=text,
            avg_logprob=best.avg_logprob,
            no_speech_prob=generation.no_speech_prob,
            temperature=request.options.temperature,
            compression_ratio=compression_ratio(text),
            encoded=generation.encoded,
        )

    async def _add_words(
        self,
        job: _Job,
        segments: list[Segment],
        result: DecodingResult,
        window: tuple[int, int],
        features: LogMel,
    ) -> list[Segment]:
        """Place the segments' words in time by the model's cross-attention."""
        start, end = window
        eot = self._tokenizer.eot
        tokens = tuple(token for each in segments for token in each.tokens if token < eot)
        request = AlignmentRequest(
            request_id=job.turn.request_id,
            start_sequence=self._tokenizer.sot_sequence(job.language, job.options.task),
            text_tokens=tokens,
            num_frames=(end - start) // HOP,
            features=features,
            encoded=result.encoded,
            deadline=job.turn.deadline,
        )
        alignment = await self._scheduler.run(job.turn, lambda: self.engine.align(request))
        timings = place_words(alignment, tokens, job.language, self._tokenizer)
        offset = start / SAMPLE_RATE
        return add_words(segments, timings, time_offset=offset, last_speech_end=offset, eot=eot)

    async def _features(self, job: _Job, start: int, end: int) -> LogMel:
        samples = await asyncio.to_thread(job.audio.samples, start, end)
        return await asyncio.to_thread(log_mel, samples, self.engine.info.n_mels)

    def _segment(self, piece: Piece, result: DecodingResult, start: int) -> Segment:
        """A piece of the window that begins at sample `start`, in seconds of the recording."""
        offset = start / SAMPLE_RATE
        return Segment(
            id=0,
            seek=start // HOP,
            start=round(offset + piece.start, 2),
            end=round(offset + piece.end, 2),
            text=self._tokenizer.decode(piece.tokens),
            tokens=piece.tokens,
            temperature=result.temperature,
            avg_logprob=result.avg_logprob,
            compression_ratio=result.compression_ratio,
            no_speech_prob=result.no_speech_prob,
        )


def _assemble(job: _Job, segments: Sequence[Segment]) -> Transcript:
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
