"""The story of a transcription: audio → spans → windows → segments → Transcript.

A newcomer reads this file first. It owns the order of things and nothing else: where to cut is
`audio.windows`, a span becomes segments in `span_decoder`, a window goes through the engine in
`window_decoder`, what its tokens mean is `decoding`. Must not know: HTTP, formats, which engine
runs.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from server import texts
from server.audio.vad import places_without_voice, voice_probabilities
from server.audio.windows import Decibels, cut, levels
from server.decoding.guard import MIN_VOICE
from server.decoding.language_choice import CERTAIN, decide, elect, restrict
from server.decoding.prompt import encode_prompt
from server.decoding.tokenizer import Tokenizer
from server.engines.base import Engine
from server.errors import DeadlineExceeded
from server.job import Job
from server.kept import Forgetful, Keeper, Kept, Plan, SpanState
from server.scheduler import Scheduler
from server.segment_order import SegmentOrder
from server.span_decoder import N_SAMPLES, SpanDecoder
from server.types import (
    SAMPLE_RATE,
    Audio,
    OnProgress,
    OnSegments,
    Segment,
    ServerVad,
    SpeechSegment,
    Transcript,
    TranscriptionOptions,
)
from server.window_decoder import WindowDecoder

MAX_VOTES = 3
"""Windows whose language is looked at before the first one is decoded."""


MINUTE = 60 * SAMPLE_RATE
"""A whole number of the voice detector's chunks."""


def _ignore(_audio_s: float) -> None:
    """For those who do not ask how far a transcription is."""


class Transcriber:
    """Transcribes recordings on one model; shared by all requests."""

    def __init__(self, scheduler: Scheduler, tokenizer: Tokenizer) -> None:
        self._scheduler = scheduler
        self._tokenizer = tokenizer
        self._windows = WindowDecoder(scheduler, tokenizer)
        self._spans = SpanDecoder(self._windows, tokenizer)

    @property
    def engine(self) -> Engine:
        """The model that answers."""
        return self._scheduler.engine

    @property
    def waiting(self) -> int:
        """Calls of the engine that wait for their turn."""
        return self._scheduler.waiting

    async def transcribe(  # noqa: PLR0913 - all by name
        self,
        audio: Audio,
        options: TranscriptionOptions,
        *,
        deadline: float | None = None,
        key_id: str = "",
        on_progress: OnProgress | None = None,
        on_segments: OnSegments | None = None,
        background: bool = False,
        kept: Kept | None = None,
        keeper: Keeper | None = None,
    ) -> Transcript:
        """Transcribe or translate a whole recording. Cancelling frees all that it holds.

        Args:
            audio: the recording.
            options: what the caller asked for; `language` None means to detect it.
            deadline: an instant of `time.monotonic()`.
            key_id: who asks: requests of one key share its turns.
            on_progress: is told each stretch of audio that is done with.
            on_segments: told the transcript's segments as they come, on the event loop.
            background: nobody waits; requests go first.
            kept: what of it is done already.
            keeper: is given what gets done.

        Raises:
            DeadlineExceeded: not done in time.
            EngineError: the engine failed.
        """
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            async with asyncio.timeout(left):
                with self._scheduler.turn(
                    deadline, key_id=key_id, audio_s=audio.duration, background=background
                ) as turn:
                    level = await asyncio.to_thread(levels, audio.pcm)
                    job = Job(audio, level, options, turn, on_progress or _ignore)
                    return await self._transcribe(
                        job, on_segments, kept or Kept(), keeper or Forgetful()
                    )
        except TimeoutError:
            raise DeadlineExceeded(texts.DEADLINE_EXCEEDED) from None

    async def _transcribe(
        self, job: Job, on_segments: OnSegments | None, kept: Kept, keeper: Keeper
    ) -> Transcript:
        plan = kept.plan or await self._plan(job)
        job.language, spans = plan.language, plan.spans
        keeper.plan(plan)
        job.beside = len(spans)
        if on_segments and spans:
            job.urgent_until = spans[0].end

        # Spans are independent of one another, so they are decoded side by side; twice as many as
        # the engine takes, so that the next ones are ready when it has room for several at once.
        places = asyncio.Semaphore(2 * self.engine.info.max_in_flight)
        prompt = encode_prompt(self._tokenizer, job.options.prompt)
        words = job.options.word_timestamps
        order = SegmentOrder(len(spans), word_timestamps=words, on_segments=on_segments)

        async def decode(index: int, span: SpeechSegment) -> None:
            begun = SpanState(
                ((span, 0),),
                previous=prompt if index == 0 else (),
                last_speech_end=span.start / SAMPLE_RATE,
            )
            state = kept.states.get(index, begun)
            order.add(index, kept.told.get(index, ()))
            async with places:
                await self._decode(
                    job, state, partial(order.add, index), partial(keeper.window, index)
                )
            order.close(index)

        await _all(decode(index, span) for index, span in enumerate(spans))
        return _assemble(job, tuple(order.segments))

    async def _plan(self, job: Job) -> Plan:
        """Where to cut, and which language is spoken."""
        spans = await _cut(job.audio, job.level, job.options)
        spans = [span for span in spans if not job.is_silent(span.start, span.end)]
        language = job.options.language or await self._detect_language(job, spans)
        return Plan(language, tuple(spans))

    async def _decode(
        self,
        job: Job,
        state: SpanState,
        on_segments: OnSegments,
        on_window: Callable[[Sequence[Segment], SpanState], None],
    ) -> None:
        """One span, from where it stands; what it finds and costs is counted apart, then added."""
        done_s, told = 0.0, list[Segment]()

        def progress(audio_s: float) -> None:
            nonlocal done_s
            done_s += audio_s
            job.on_progress(audio_s)

        own = replace(
            job,
            on_progress=progress,
            stats=state.stats,
            dropped=list(state.dropped),
            heard=dict(state.heard),
        )
        progress(state.done_s)

        def tell(segments: Sequence[Segment]) -> None:
            told.extend(segments)
            on_segments(segments)

        def keep(reached: SpanState) -> None:
            on_window(
                tuple(told),
                replace(
                    reached,
                    done_s=done_s,
                    stats=own.stats,
                    dropped=tuple(own.dropped),
                    heard=dict(own.heard),
                ),
            )
            told.clear()

        await self._spans.decode(own, state, tell, keep)
        job.add(own)

    async def _detect_language(self, job: Job, spans: Sequence[SpeechSegment]) -> str:
        """The vote of up to three windows spread over the recording; one is enough if certain.

        A window in which the detector hears a voice goes before all others: of noise and music
        a model may be certain too. The others are asked where no window has a voice, for the
        detector is deaf to some speakers.
        """
        places = _places_to_vote(spans)
        voiced, unvoiced = [], []
        for start, end in places:
            window = await self._windows.window(job, start, end)
            detection = await self._windows.detect_language(job, window)
            vote = restrict(detection.language_probs, job.options.languages)
            certain = max(vote.values()) > CERTAIN
            at = window.time_offset
            if certain and len(places) == 1:
                return elect([vote])[0]
            if await self._windows.voiced(job, at, at + window.duration) < MIN_VOICE:
                unvoiced.append(vote)
            elif certain:
                return elect([vote])[0]
            else:
                voiced.append(vote)
        return decide(voiced, unvoiced, job.options.default_language)


async def _cut(audio: Audio, level: Decibels, options: TranscriptionOptions) -> list[SpeechSegment]:
    """The spans that are decoded side by side; the whole recording where context goes on."""
    if options.mode != "fast":
        return [SpeechSegment(0, len(audio.pcm))]
    places = None
    if options.server_vad is not None:
        places = await _places_without_voice(audio, options.server_vad)
    return await asyncio.to_thread(cut, level, len(audio.pcm), places)


async def _places_without_voice(audio: Audio, vad: ServerVad) -> list[int]:
    """Where the voice detector lets a recording be cut; heard minute by minute, to be cancelled."""
    minutes = [audio.pcm[at : at + MINUTE] for at in range(0, len(audio.pcm), MINUTE)]
    heard = [await asyncio.to_thread(voice_probabilities, minute) for minute in minutes]
    return places_without_voice(np.concatenate(heard), vad) if heard else []


def _places_to_vote(spans: Sequence[SpeechSegment]) -> list[tuple[int, int]]:
    """Windows at the start of the recording, at a third and at two thirds of it."""
    windows = [
        (start, min(start + N_SAMPLES, span.end))
        for span in spans
        for start in range(span.start, span.end, N_SAMPLES)
    ]
    return windows[:: max(1, -(-len(windows) // MAX_VOTES))]


def _assemble(job: Job, segments: tuple[Segment, ...]) -> Transcript:
    return Transcript(
        task=job.options.task,
        language=_most_heard(job),
        duration=job.audio.duration,
        text="".join(segment.text for segment in segments).strip(),
        segments=segments,
        words=tuple(word for segment in segments for word in segment.words),
        warnings=job.audio.warnings,
        dropped=tuple(sorted(job.dropped, key=lambda each: each.start)),
        stats=replace(
            job.stats,
            dropped=len(job.dropped),
            queue_s=job.stats.queue_s + job.turn.queue_s,
        ),
    )


def _most_heard(job: Job) -> str:
    """The language of most of the speech; what was asked for, or found first, without any."""
    if job.options.language or not any(job.heard.values()):
        return job.language
    return max(job.heard, key=lambda code: (job.heard[code], code == job.language))


async def _all(spans: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run side by side; the first failure cancels the rest and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for span in spans:
                group.create_task(span)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
