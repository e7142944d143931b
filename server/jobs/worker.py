"""Runs jobs: takes them in turn, holds them while they run, and ends them.

Knows: leases, heartbeats, attempts, what an end means for whoever paid.
Must not know: SQL, HTTP, how a recording is transcribed.
"""

import asyncio
import contextlib
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol

import structlog

from server import texts
from server.access.allowances import Allowances, Spent
from server.access.usage import Usage
from server.admission import Throughput
from server.errors import EngineError, InternalError, JobsUnavailable, ServerError
from server.jobs import outbox, queue, table
from server.jobs.audio_store import AudioStore
from server.jobs.database import Database
from server.jobs.keeping import WindowWriter, kept_of
from server.jobs.record import Claimed, Fault, State, pack_transcript
from server.kept import Keeper, Kept
from server.types import Audio, OnProgress, Transcript, TranscriptionOptions

POLL_SECONDS = 1.0
"""Between two looks for jobs of other servers, and for those that were lost."""

MAX_ATTEMPTS = 4
"""Tries in a row that failed without one more window; then the job fails."""

MAX_CLAIMS = 10
"""As above, of tries that nobody saw the end of: this recording may be what kills the server."""

RETRY_SECONDS = 2.0
"""After an attempt that failed, times the number of attempts."""

FORGET_SECONDS = 30 * 86_400.0
"""From the end of a result to the end of its job's row."""


class Transcribes(Protocol):
    """One model, ready for use."""

    async def transcribe(  # noqa: PLR0913 - all by name
        self,
        audio: Audio,
        options: TranscriptionOptions,
        *,
        key_id: str = "",
        on_progress: OnProgress | None = None,
        background: bool = False,
        kept: Kept | None = None,
        keeper: Keeper | None = None,
    ) -> Transcript:
        """See `server.transcribe.Transcriber`."""
        ...


@dataclass(slots=True)
class _Running:
    """A job that runs here."""

    lease: queue.Lease
    task: "asyncio.Task[None]"
    lost: bool = False

    def lose(self) -> None:
        """It is another's, or cancelled: nothing is written any more."""
        self.lost = True
        self.task.cancel()


@dataclass(frozen=True, slots=True)
class Parts:
    """What a worker works with."""

    database: Database
    audio: AudioStore
    transcribers: Mapping[str, Transcribes]
    allowances: Allowances
    usage: Usage
    on_end: list[Callable[[], None]] = field(default_factory=list)
    """Whom to wake when a job has ended."""


class Worker:
    """Takes up to `max_running` jobs at once, from any server's callers."""

    def __init__(
        self,
        parts: Parts,
        *,
        lease: float,
        max_running: int,
        results_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._parts = parts
        self._lease = lease
        self._max_running = max_running
        self._results_s = results_s
        self.ended: Counter[State] = Counter()
        """How often jobs ended by way of this server; whoever else ends one adds to it."""
        self._clock = clock
        self._running: dict[str, _Running] = {}
        """By claim: a job that was lost may come back while its last turn still ends."""
        self._wake = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self.throughput = Throughput(time.monotonic)
        """Of jobs, in audio seconds a second."""

    @property
    def running(self) -> int:
        """Jobs that are worked on now."""
        return len(self._running)

    def start(self) -> None:
        """Begin to take jobs."""
        self._loops = [asyncio.create_task(each) for each in (self._take(), self._hold())]

    def wake(self) -> None:
        """There is a new job."""
        self._wake.set()

    def cancel(self, seq: int) -> None:
        """End a job at once if it runs here; elsewhere the next heartbeat does."""
        for running in self._running.values():
            if running.lease.seq == seq:
                running.lose()

    async def stop(self) -> None:
        """Take no more, and let go of those that run: what they have done is kept."""
        tasks = [*self._loops, *(running.task for running in self._running.values())]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _take(self) -> None:
        while True:
            with contextlib.suppress(JobsUnavailable):
                while len(self._running) < self._max_running and await self._take_one():
                    pass
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()

    async def _take_one(self) -> bool:
        models = tuple(self._parts.transcribers)
        if not models:
            return False
        now = self._clock()
        claimed = await self._parts.database.run(
            partial(
                queue.claim,
                now=now,
                lease_until=now + self._lease,
                models=models,
                token=uuid.uuid4().hex,
            )
        )
        if claimed is None:
            return False
        if not self._running:
            self.throughput.begin()
        task = asyncio.create_task(self._work(claimed))
        running = _Running(queue.Lease(claimed.seq, claimed.claim), task)
        self._running[claimed.claim] = running
        return True

    async def _hold(self) -> None:
        """The heartbeat of all that runs here."""
        while True:
            await asyncio.sleep(self._lease / 3)
            held = dict(self._running)
            leases = [each.lease for each in held.values()]
            if not leases:
                continue
            until = self._clock() + self._lease
            with contextlib.suppress(JobsUnavailable):
                still = await self._parts.database.run(
                    partial(queue.renew, held=leases, until=until)
                )
                for claim in held.keys() - still:
                    held[claim].lose()

    async def _work(self, claimed: Claimed) -> None:
        running = self._running[claimed.claim]
        try:
            await self._run(claimed, running)
        except asyncio.CancelledError:
            if not running.lost:  # the server stops: the next one goes on
                await self._let_go(running.lease, self._clock(), counts=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job must end or be tried again
            await self._fail(claimed, running.lease, error)
        finally:
            del self._running[claimed.claim]
            self.wake()

    async def _run(self, claimed: Claimed, running: _Running) -> None:
        parts, started = self._parts, time.monotonic()
        if claimed.attempts > MAX_CLAIMS:
            raise EngineError(texts.JOB_GIVEN_UP)
        rows = await parts.database.run(partial(queue.windows_of, seq=claimed.seq))
        writer = WindowWriter(parts.database, running.lease, len(rows), running.lose)
        audio = await parts.audio.read(claimed.id, claimed.asked.warnings)

        def progress(audio_s: float) -> None:
            writer.progress(audio_s)
            self.throughput.add(audio_s)

        writing = asyncio.create_task(writer.run())
        try:
            transcript = await parts.transcribers[claimed.model].transcribe(
                audio,
                claimed.asked.options,
                key_id=claimed.owner,
                on_progress=progress,
                background=True,
                kept=kept_of(rows),
                keeper=writer,
            )
        finally:
            writing.cancel()
            await asyncio.wait([writing])
        packed = await asyncio.to_thread(pack_transcript, transcript)
        await parts.usage.add_once(claimed.owner, claimed.audio_s, claimed.id)
        stats = transcript.stats
        told = {
            "total_s": round(time.monotonic() - started, 3),
            "windows": writer.windows,
            "windows_kept": max(len(rows) - 1, 0),
            "fallbacks": stats.fallbacks,
            "queue_s": round(stats.queue_s, 3),
            "compute_s": round(stats.compute_s, 3),
        }
        outcome = {"transcript": packed}
        text = transcript.text.strip()
        await self._end(claimed, running.lease, "succeeded", outcome, told=told, text=text)

    async def _fail(self, claimed: Claimed, lease: queue.Lease, error: Exception) -> None:
        """Try again later, or end it; what failed by our fault is given back."""
        ours = error if isinstance(error, ServerError) else InternalError(type(error).__name__)
        if not isinstance(error, ServerError) or isinstance(error, InternalError):
            structlog.get_logger().error("fault", code=ours.code, exc_info=error)
        if isinstance(error, JobsUnavailable):
            log = structlog.get_logger()
            log.warning("job_put_off", job=claimed.id, reason=error.reason or "database")
            # If it is the database, nothing can be written: the lease ends by itself.
            await self._let_go(lease, self._clock() + RETRY_SECONDS, counts=False)
            return
        fault = ours.status >= 500
        if fault and claimed.attempts < MAX_ATTEMPTS:
            later = self._clock() + RETRY_SECONDS * claimed.attempts
            await self._let_go(lease, later, counts=True)
            return
        with contextlib.suppress(JobsUnavailable):
            spent = await self._parts.database.run(partial(table.spent_by, seq=claimed.seq))
            outcome = {
                "error": json.dumps(asdict(Fault(str(ours.code), ours.said("en"), ours.said("pt"))))
            }
            told = {"error": ours.code}
            refund = spent if fault else None
            await self._end(claimed, lease, "failed", outcome, told=told, refund=refund)

    async def _end(  # noqa: PLR0913 - what an end is, by name
        self,
        claimed: Claimed,
        lease: queue.Lease,
        state: State,
        outcome: Mapping[str, Any],
        *,
        told: Mapping[str, object],
        text: str | None = None,
        refund: Spent | None = None,
    ) -> None:
        """Write it; if the job was not lost meanwhile, tell of it, pay back and free its audio.

        A stop that comes meanwhile waits: an end that is written has to be told.
        """
        now = self._clock()
        kept_s = self._results_s + (0.0 if state == "succeeded" else FORGET_SECONDS)
        how = queue.End(state, now, now + kept_s, **outcome)
        write = partial(outbox.end, lease=lease, how=how, text=text)

        async def end() -> None:
            if not await self._parts.database.run(write, durable=True):
                return  # whoever has it tells its end
            self.ended[state] += 1
            _log(claimed, state, told)
            for wake in self._parts.on_end:
                wake()
            if refund is not None:
                await self._parts.allowances.give_back(refund)
            await self._parts.audio.delete(claimed.id)

        await _to_its_end(end())

    async def _let_go(self, lease: queue.Lease, until: float, *, counts: bool) -> None:
        with contextlib.suppress(JobsUnavailable):
            await self._parts.database.run(
                partial(queue.give_up, lease=lease, until=until, counts=counts)
            )


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """All of it, however often it is cancelled."""
    task = asyncio.create_task(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    task.result()


def _log(claimed: Claimed, state: State, told: Mapping[str, object]) -> None:
    structlog.get_logger().info(
        "job",
        job=claimed.id,
        name=claimed.owner,
        state=state,
        model=claimed.model,
        audio_s=round(claimed.audio_s, 3),
        attempts=claimed.attempts,
        **told,
    )
