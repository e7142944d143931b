"""POST /v1/audio/transcriptions and /v1/audio/translations.

Knows: the order of things: key, form, file, audio, transcript, body.
Must not know: how any of them is done.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import falcon.asgi

from server import texts
from server.access.allowances import Allowances
from server.access.scopes import require
from server.access.usage import Usage
from server.errors import DeadlineExceeded
from server.http import options
from server.http.accounting import Account, account
from server.http.answer import UNBUFFERED
from server.http.ask import Ask, asked_of, check_model, codes_of
from server.http.bodies import Bodies
from server.http.exchange import Exchange, caller_of, exchange_of
from server.http.fields import KNOWN
from server.http.forms import Form, check_media_type, read_form
from server.http.idempotency import REPLAYED, fingerprint, key_of, repeats_of
from server.http.jobs import kept_by, prefers_async
from server.http.models import Models
from server.http.options import Wanted
from server.http.parts import Admission, AudioLoader, Place, Transcriber
from server.http.spool import Spool, Spools
from server.jobs.record import Asked, Job
from server.jobs.shown import body_of
from server.jobs.turn import Answer, Turn
from server.observe.logs import RequestRecord
from server.observe.traces import span
from server.types import Audio, Principal, Task, Transcript, TranscriptionOptions

if TYPE_CHECKING:
    from server.jobs.jobs import Jobs  # slow to import, and not every server has jobs
    from server.jobs.outbox import Destination

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
        key = key_of(req)
        if prefers_async(req):
            kept_by(self._service.jobs)
        if key is not None:
            repeats_of(self._service.jobs)
        self._service.models.find(None)  # while models load, refuse before the upload
        async with (
            self._admit(exchange.record, caller) as place,
            self._service.spools.open(hashed=key is not None) as spool,
        ):
            form = await self._upload(exchange, content_type, spool)
            if prefers_async(req):
                form.fields["background"] = ["true"]
            ask = Ask(form, *self._options(form, exchange), place, spool)
            if key is None:
                await self._do(req, resp, ask, Turn())
                return
            repeats = repeats_of(self._service.jobs)
            digest = fingerprint(self._task, form, exchange.deployment, await spool.digest())
            async with repeats.turn(caller.name, key, digest) as turn:
                if turn.answer is None:
                    await self._do(req, resp, ask, turn)
                else:
                    await self._replay(req, resp, turn.answer)

    async def _do(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, ask: Ask, turn: Turn
    ) -> None:
        """Make the answer, or a job; what it costs is charged and counted around that."""
        service, exchange, caller = self._service, exchange_of(req), caller_of(req)
        async with account(exchange, caller, service.allowances, service.usage, turn) as charged:
            if ask.wanted.background:
                to = kept_by(service.jobs).webhooks.destination(
                    caller.name, ask.wanted.webhook_url, exchange.language
                )
                audio = await self._load_for_job(ask.spool, exchange, caller)
                await charged.reserve(audio.duration)
                await self._charged(turn)
                await self._hand_over(req, resp, audio, asked_of(ask, audio), turn, to)
                return
            audio, begun = await self._transcribe(exchange, resp, ask, charged, turn)
        if turn.held is not None:
            assert resp.data is not None, "This is a bug: an answer without a body."
            repeats, warnings = repeats_of(service.jobs), codes_of(audio)
            await repeats.keep(turn, begun + resp.data, resp.content_type or "", warnings)

    async def _transcribe(
        self,
        exchange: Exchange,
        resp: falcon.asgi.Response,
        ask: Ask,
        charged: Account,
        turn: Turn,
    ) -> tuple[Audio, bytes]:
        """The text, as the body that was asked for; its audio, and the events before the last."""
        bodies, waited = self._service.bodies, exchange.record.wait_s or 0.0
        wanted, place = ask.wanted, ask.place
        events = bytearray()

        def push(piece: bytes) -> None:
            send(piece)
            if wanted.stream:
                events.extend(piece)

        async with (
            _deadline(self._service.request_timeout) as deadline,
            exchange.answer.kept_alive(bodies.early(wanted, waited)) as send,
        ):
            audio = await self._load(ask.spool, exchange)
            await ask.spool.close()
            await charged.charge(audio.duration)
            await self._charged(turn)
            await _hold(place, exchange.record)
            transcript = await ask.model.transcribe(
                audio,
                wanted.options,
                deadline=deadline,
                key_id=charged.caller.name,
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
        return audio, bytes(events)

    async def _charged(self, turn: Turn) -> None:
        if turn.held is not None:
            await repeats_of(self._service.jobs).charged(turn)

    async def _replay(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, answer: Answer
    ) -> None:
        """What was answered before; of a job, how it stands now."""
        exchange = exchange_of(req)
        resp.set_header(REPLAYED, "true")
        if answer.job is not None:
            job = await kept_by(self._service.jobs).find(caller_of(req).name, answer.job)
            await self._show(req, resp, job)
            return
        resp.data, resp.content_type = answer.content, answer.content_type
        if answer.warnings:
            exchange.answer.headers.append((WARNING_HEADER, answer.warnings.encode()))

    async def _load_for_job(self, spool: Spool, exchange: Exchange, caller: Principal) -> Audio:
        """The upload as audio, if there is room for one more job."""
        jobs = kept_by(self._service.jobs)
        await jobs.check_room(caller.name)
        audio = await self._load(spool, exchange)
        await spool.close()
        await jobs.check_room(caller.name, audio)
        return audio

    async def _hand_over(  # noqa: PLR0913, PLR0917 - what a job is made of
        self,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        audio: Audio,
        asked: Asked,
        turn: Turn,
        to: "Destination | None",
    ) -> None:
        """Make it a job, which is safe on disk before anybody is told."""
        exchange, caller = exchange_of(req), caller_of(req)
        jobs, model = kept_by(self._service.jobs), exchange.record.model
        assert model is not None, "This is a bug: a job without a model."
        job = await jobs.submit(caller, model, audio, asked, turn, to)
        await self._show(req, resp, job)

    async def _show(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, job: Job) -> None:
        """The job, with 202."""
        exchange, jobs = exchange_of(req), kept_by(self._service.jobs)
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
        check_model(wanted, info)
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
            exchange.answer.headers.append((WARNING_HEADER, codes_of(audio).encode()))
        return audio


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
