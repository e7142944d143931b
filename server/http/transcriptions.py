"""POST /v1/audio/transcriptions and /v1/audio/translations.

Knows: the order of things: key, form, file, audio, transcript, body.
Must not know: how any of them is done.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import falcon.asgi

from server import texts
from server.access.allowances import Allowances, Spent
from server.access.scopes import require
from server.access.usage import Usage
from server.engines.base import EngineInfo
from server.errors import DeadlineExceeded, InvalidOption
from server.http import options
from server.http.accounting import account
from server.http.answer import UNBUFFERED
from server.http.bodies import Bodies
from server.http.exchange import Exchange, caller_of, exchange_of
from server.http.fields import KNOWN
from server.http.forms import Form, check_media_type, read_form
from server.http.jobs import SHOWN, body_of, kept_by, prefers_async
from server.http.models import Models
from server.http.options import Wanted, check_words
from server.http.parts import Admission, AudioLoader, Place, Transcriber
from server.http.spool import Spool, Spools
from server.jobs.record import Asked
from server.observe.logs import RequestRecord
from server.observe.traces import span
from server.types import Audio, Principal, Task, Transcript, TranscriptionOptions

if TYPE_CHECKING:
    from server.jobs.jobs import Jobs  # slow to import, and not every server has jobs

WARNING_HEADER = b"x-sussurro-warning"
"""Codes of what went wrong without stopping us, in every format (`audio_truncated`)."""


@dataclass(frozen=True, slots=True)
class Service:
    """What both routes work with."""

    models: Models
    admission: Admission
    allowances: Allowances
    usage: Usage
    loader: AudioLoader
    spools: Spools
    max_field_bytes: int
    defaults: TranscriptionOptions
    bodies: Bodies
    request_timeout: float
    jobs: "Jobs | None" = None


class Transcriptions:
    """One of the two routes; the task tells them apart."""

    def __init__(self, task: Task, service: Service) -> None:
        self._task: Task = task
        self._service = service

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Audio in, text out."""
        exchange, caller = exchange_of(req), caller_of(req)
        require(caller, self._task)
        content_type = check_media_type(req.content_type, self._task)
        if prefers_async(req):
            kept_by(self._service.jobs)
        self._service.models.find(None)  # while models load, refuse before the upload
        async with (
            self._admit(exchange.record, caller) as place,
            self._service.spools.open() as spool,
            account(exchange, caller, self._service.allowances, self._service.usage) as charged,
        ):
            form = await self._upload(exchange, content_type, spool)
            if prefers_async(req):
                form.fields["background"] = ["true"]
            wanted, model = self._options(form, exchange)
            if wanted.background:
                audio = await self._load_for_job(spool, exchange, caller)
                spent = await charged.reserve(audio.duration)
                await self._hand_over(req, resp, audio, _asked(form, wanted, model, audio), spent)
                return
            bodies, waited = self._service.bodies, exchange.record.wait_s or 0.0
            async with (
                _deadline(self._service.request_timeout) as deadline,
                exchange.answer.kept_alive(bodies.early(wanted, waited)) as push,
            ):
                audio = await self._load(spool, exchange)
                await spool.close()
                await charged.charge(audio.duration)
                await _hold(place, exchange.record)
                transcript = await model.transcribe(
                    audio,
                    wanted.options,
                    deadline=deadline,
                    key_id=caller.name,
                    on_progress=place.progress,
                    on_segments=bodies.teller(wanted, push),
                )
                _note(exchange.record, transcript)
                started = time.monotonic()
                with span("format"):
                    resp.data, resp.content_type = await bodies.render(transcript, wanted)
                exchange.record.format_s = time.monotonic() - started
                if wanted.stream:
                    exchange.answer.headers += UNBUFFERED

    async def _load_for_job(self, spool: Spool, exchange: Exchange, caller: Principal) -> Audio:
        """The upload as audio, if there is room for one more job."""
        jobs = kept_by(self._service.jobs)
        await jobs.check_room(caller.name)
        audio = await self._load(spool, exchange)
        await spool.close()
        await jobs.check_room(caller.name, audio)
        return audio

    async def _hand_over(
        self,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        audio: Audio,
        asked: Asked,
        spent: Spent,
    ) -> None:
        """Make it a job, which is safe on disk before anybody is told."""
        exchange, caller = exchange_of(req), caller_of(req)
        jobs, model = kept_by(self._service.jobs), exchange.record.model
        assert model is not None, "This is a bug: a job without a model."
        job = await jobs.submit(caller, model, audio, asked, spent)
        exchange.record.job = job.id
        outlook = await jobs.outlook([job])
        resp.status, resp.location = 202, f"/v1/jobs/{job.id}"
        resp.media = body_of(job, outlook, exchange.language)
        if prefers_async(req):
            resp.set_header("preference-applied", "respond-async")

    @asynccontextmanager
    async def _admit(self, record: RequestRecord, caller: Principal) -> AsyncIterator[Place]:
        """A place in the server; how long it took to get one is for the log."""
        started = time.monotonic()
        most = self._service.allowances.max_requests(caller)
        async with AsyncExitStack() as stack:
            with span("wait"):
                entering = self._service.admission.enter(caller.name, most)
                place = await stack.enter_async_context(entering)
            record.wait_s = time.monotonic() - started
            yield place

    async def _upload(self, exchange: Exchange, content_type: str, spool: Spool) -> Form:
        """The form, once all of it has arrived."""
        started = time.monotonic()
        try:
            with span("upload"):
                return await read_form(
                    exchange.body.chunks(),
                    content_type,
                    spool,
                    task=self._task,
                    wanted=KNOWN,
                    max_field_bytes=self._service.max_field_bytes,
                )
        finally:
            exchange.record.upload_s = time.monotonic() - started

    def _options(self, form: Form, exchange: Exchange) -> tuple[Wanted, Transcriber]:
        """What is asked for, and who will do it."""
        record = exchange.record
        wanted = options.parse(form.fields, self._task, self._service.defaults)
        record.task = self._task
        record.response_format = wanted.response_format
        record.stream = wanted.stream or None
        name = wanted.model or self._service.models.known(exchange.deployment)
        record.model, transcriber = self._service.models.find(name)
        info = transcriber.engine.info
        record.engine = info.name
        _check_model(wanted, info)
        return wanted, transcriber

    async def _load(self, spool: Spool, exchange: Exchange) -> Audio:
        """The upload as audio."""
        record = exchange.record
        descriptor = await spool.rewind()
        started = time.monotonic()
        try:
            with span("load"):
                audio = await self._service.loader.load(descriptor)
        finally:
            record.load_s = time.monotonic() - started
        record.audio_s = audio.duration
        if audio.warnings:
            exchange.answer.headers.append((WARNING_HEADER, ", ".join(audio.warnings).encode()))
        return audio


def _check_model(wanted: Wanted, info: EngineInfo) -> None:
    """Refuse what this model cannot do.

    Raises:
        InvalidOption: it does not know a language, or aligns no words.
    """
    for name, code in wanted.languages:
        if code not in info.languages:
            text = texts.MODEL_LACKS_LANGUAGE.filled(language=code, name=name)
            raise InvalidOption(text, param=name)
    check_words(wanted, aligns=info.aligns)


def _asked(form: Form, wanted: Wanted, model: Transcriber, audio: Audio) -> Asked:
    """What a job keeps of a request: every format is to be had later, so words are needed."""
    shown = {name: list(form.fields[name]) for name in SHOWN if name in form.fields}
    choices = replace(wanted.options, word_timestamps=True)
    return Asked(choices, shown, aligns=model.engine.info.aligns, warnings=audio.warnings)


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncIterator[float]:
    """Cancel what takes longer; yields the instant, on `time.monotonic`.

    Raises:
        DeadlineExceeded: it did take longer.
    """
    timer = asyncio.timeout(seconds)
    try:
        async with timer:
            yield time.monotonic() + seconds
    except TimeoutError:
        if not timer.expired():
            raise
        raise DeadlineExceeded(texts.SLOWER_THAN.filled(seconds=seconds)) from None


async def _hold(place: Place, record: RequestRecord) -> None:
    """Room for the audio, now that its length is known."""
    started = time.monotonic()
    with span("wait"):
        await place.hold(record.audio_s or 0.0)
    record.wait_s = (record.wait_s or 0.0) + time.monotonic() - started


def _note(record: RequestRecord, transcript: Transcript) -> None:
    """What the transcription cost, for the log line."""
    stats = transcript.stats
    record.windows, record.fallbacks, record.dropped = stats.windows, stats.fallbacks, stats.dropped
    record.queue_s, record.compute_s = stats.queue_s, stats.compute_s
    record.calls = stats.calls
    record.batch = stats.batched / stats.calls if stats.calls else None
