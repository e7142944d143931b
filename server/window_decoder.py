"""One window through the engine: the temperature ladder, and words in time.

Knows: views, prompts, turns, and which try to keep.
Must not know: how a recording is cut into windows, how segments are made of the result.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from server.audio.features import log_mel
from server.audio.vad import voiced_seconds
from server.decoding.context import WHOLE, has_lost_its_way, view_frames
from server.decoding.fallback import (
    best_attempt,
    compression_ratio,
    generation_options,
    is_doubtful,
    needs_fallback,
    rank,
)
from server.decoding.guard import is_made_up, is_suspect, reason_to_drop_window
from server.decoding.prompt import build_prompt, encode_prompt
from server.decoding.timing import Timing, place_words
from server.decoding.tokenizer import Tokenizer
from server.engines.base import Engine
from server.job import HOP, Job
from server.scheduler import Scheduler
from server.types import (
    SAMPLE_RATE,
    AlignmentRequest,
    DecodingResult,
    Encoded,
    GenerationRequest,
    LanguageDetection,
    ServerVad,
    Window,
)

SURE = 0.7
"""A language less likely than this was hardly heard."""

ENCODE, DECODE, ALIGN = 0.5, 0.4, 0.1
"""What a call counts for a caller's share, by second of audio: roughly what it costs on a CPU."""


class WindowDecoder:
    """Decodes windows on one engine, taking turns with everybody else."""

    def __init__(self, scheduler: Scheduler, tokenizer: Tokenizer) -> None:
        self._scheduler = scheduler
        self._tokenizer = tokenizer

    @property
    def engine(self) -> Engine:
        """The model that answers."""
        return self._scheduler.engine

    async def window(self, job: Job, start: int, end: int) -> Window:
        """Samples `start` to `end`, at most 30 s of them, as the encoder hears them."""
        n_mels = self.engine.info.n_mels
        async with job.one_by_one:
            features = await asyncio.to_thread(
                lambda: log_mel(job.audio.samples(start, end), n_mels)
            )
        return Window(start, end, features)

    async def voiced(self, job: Job, start: float, end: float) -> float:
        """Seconds of voice between two seconds of the recording."""
        first, last = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
        vad = job.options.server_vad or ServerVad()
        pcm = job.audio.pcm[max(0, first) : last]
        return await asyncio.to_thread(voiced_seconds, pcm, vad.threshold)

    async def detect_language(self, job: Job, window: Window) -> LanguageDetection:
        """Probability of each language; the encoder's output is kept for `decode`.

        What is a guess in a fitted view is asked again in the whole one.
        """
        key = (window.start, window.end)
        view, encoded = job.encoded.get(key, (self._fitted(job, window), None))
        detection = await self._detect(job, view, encoded)
        unsure = max(detection.language_probs.values()) < SURE
        if unsure and encoded is None and _is_fitted(view):
            view = window
            detection = await self._detect(job, view, None)
        job.encoded[key] = (view, detection.encoded)
        return detection

    async def _detect(self, job: Job, window: Window, encoded: Encoded | None) -> LanguageDetection:
        request = GenerationRequest(
            job.turn.request_id,
            (),
            generation_options(job.options, 0.0, ()),
            window.features,
            encoded=encoded,
            deadline=job.turn.deadline,
        )
        detection = await self._scheduler.run(
            job.turn,
            lambda: self.engine.detect_language(request),
            size=window.duration,
            charge=0.0 if encoded is not None else ENCODE * window.duration,
            position=window.start,
        )
        job.spent(detection)
        return detection

    async def decode(  # noqa: PLR0913 - the window and what is known of it, flags by name
        self,
        job: Job,
        window: Window,
        languages: Sequence[str],
        *,
        previous: tuple[int, ...] = (),
        without_timestamps: bool = False,
        first_rung_only: bool = False,
    ) -> DecodingResult:
        """Climb the temperature ladder until a result passes the gates, or is no speech.

        `languages` are the window's and those that it might be in as well: they are tried where
        the first one gives a doubtful text, and the likeliest text decides.

        The first try may be in a fitted view. A text that looks odd there is tried again in the
        whole one, as if nothing had been before.
        """
        first, *higher = job.options.temperatures
        job.count(windows=1)
        prompts = {
            language: build_prompt(
                self._tokenizer,
                language,
                job.options.task,
                hotwords=encode_prompt(self._tokenizer, job.options.hotwords),
                previous=previous,
                without_timestamps=without_timestamps,
            )
            for language in languages
        }
        known = job.encoded.pop((window.start, window.end), None)
        view, encoded = known or (self._fitted(job, window), None)
        attempt = await self._attempt(job, view, languages[0], prompts, first, encoded)
        if _is_fitted(view) and has_lost_its_way(attempt, job.options, window.duration):
            attempt = await self._attempt(job, window, languages[0], prompts, first, None)
        if is_suspect(attempt, job.options):
            attempt = await self._judge(job, window, attempt)
            if attempt.dropped:
                return attempt
        attempts = [attempt]
        for language in languages[1:]:
            if not is_doubtful(best_attempt(attempts, job.options), job.options):
                break
            encoded = attempt.encoded
            attempts.append(await self._attempt(job, window, language, prompts, first, encoded))
        best = best_attempt(attempts, job.options)
        for temperature in () if first_rung_only else higher:
            if not needs_fallback(best, job.options):
                return best
            language, encoded = best.language, attempt.encoded
            attempts.append(
                await self._attempt(job, window, language, prompts, temperature, encoded)
            )
            passed = not needs_fallback(attempts[-1], job.options)
            best = attempts[-1] if passed else best_attempt(attempts, job.options)
        return await self._judge_last(job, window, best)

    async def _attempt(  # noqa: PLR0913, PLR0917 - one call of the engine, all of it needed
        self,
        job: Job,
        window: Window,
        language: str,
        prompts: Mapping[str, tuple[int, ...]],
        temperature: float,
        encoded: Encoded | None,
    ) -> DecodingResult:
        request = GenerationRequest(
            request_id=job.turn.request_id,
            prompt=prompts[language],
            options=generation_options(job.options, temperature, self._tokenizer.suppress_tokens),
            features=window.features,
            encoded=encoded,
            deadline=job.turn.deadline,
            urgent=window.start < job.urgent_until,
            beside=job.beside,
        )
        attempt = await self._generate(job, request, window, language)
        if needs_fallback(attempt, job.options):
            job.count(fallbacks=1)
        return attempt

    def _fitted(self, job: Job, window: Window) -> Window:
        """The window in as much of Whisper's view as it is shown at first."""
        frames = view_frames(window.duration, self.engine.info.min_frames)
        # How a translation fares in less than the whole view was not measured.
        if job.options.task == "translate" or frames == WHOLE:
            return window
        return replace(window, features=window.features[:, :frames])

    async def _judge_last(self, job: Job, window: Window, best: DecodingResult) -> DecodingResult:
        """What no temperature made likely stays only if there is voice for it."""
        if best.avg_logprob >= job.options.logprob_threshold:
            return best
        start, duration = window.time_offset, window.duration
        voiced = await self.voiced(job, start, start + duration)
        if not is_made_up(best, job.options, voiced=voiced, duration=duration):
            return best
        job.drop(start, start + duration, "no_voice")
        return replace(best, dropped="no_voice")

    async def _judge(self, job: Job, window: Window, attempt: DecodingResult) -> DecodingResult:
        """Ask the second witness, before the ladder makes up more of what nobody said."""
        start, duration = window.time_offset, window.duration
        voiced = await self.voiced(job, start, start + duration)
        reason = reason_to_drop_window(attempt, job.options, voiced=voiced, duration=duration)
        if reason:
            job.drop(start, start + duration, reason)
        return replace(attempt, dropped=reason)

    async def _generate(
        self, job: Job, request: GenerationRequest, window: Window, language: str
    ) -> DecodingResult:
        generation = await self._scheduler.run(
            job.turn,
            lambda: self.engine.generate(request),
            size=window.duration,
            charge=(DECODE if request.encoded is not None else ENCODE + DECODE) * window.duration,
            position=window.start,
        )
        job.spent(generation)
        best = rank(generation.hypotheses)
        text = self._tokenizer.decode(best.tokens).strip()
        return DecodingResult(
            language=language,
            tokens=best.tokens,
            text=text,
            avg_logprob=best.avg_logprob,
            no_speech_prob=generation.no_speech_prob,
            temperature=request.options.temperature,
            compression_ratio=compression_ratio(text),
            encoded=generation.encoded,
        )

    async def place_words(
        self, job: Job, window: Window, tokens: Sequence[int], result: DecodingResult
    ) -> list[Timing]:
        """The words of `tokens` with their times in the window, by cross-attention."""
        text_tokens = tuple(token for token in tokens if token < self._tokenizer.eot)
        if not text_tokens:
            return []
        request = AlignmentRequest(
            request_id=job.turn.request_id,
            start_sequence=self._tokenizer.sot_sequence(result.language, job.options.task),
            text_tokens=text_tokens,
            num_frames=(window.end - window.start) // HOP,
            features=window.features,
            encoded=result.encoded,
            deadline=job.turn.deadline,
        )
        alignment = await self._scheduler.finish(
            job.turn, lambda: self.engine.align(request), charge=ALIGN * window.duration
        )
        job.spent(alignment)
        return place_words(alignment, text_tokens, result.language, self._tokenizer)


def _is_fitted(view: Window) -> bool:
    """Whether there is more of Whisper's view to be had."""
    return bool(view.features.shape[1] < WHOLE)
