"""Jobs as the edge sees them: taken, looked at, cancelled; and the sweep of what is over.

Knows: the order in which audio, row and charge are made safe, and undone.
Must not know: HTTP, SQL, how a job runs.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import structlog
from sqlalchemy import Connection

from server import texts
from server.access.access import Access
from server.errors import JobNotFound, JobsUnavailable, Overloaded, RateLimited
from server.jobs import outbox, table
from server.jobs.audio_files import PART
from server.jobs.audio_store import open_store
from server.jobs.database import Database, DatabaseError
from server.jobs.outbox import Destination
from server.jobs.record import Asked, Figures, Job, unpack_asked, unpack_transcript
from server.jobs.repeats import Repeats
from server.jobs.turn import Answer, Turn
from server.jobs.webhooks import Webhooks
from server.jobs.worker import FORGET_SECONDS, Parts, Transcribes, Worker
from server.settings import PREFIX, Settings
from server.types import SAMPLE_RATE, Audio, Principal, Transcript

QUEUE_SECONDS = 7 * 86_400.0
"""A job that has not begun by then expires."""

SECOND_BYTES = 2 * SAMPLE_RATE
"""Of a file of audio."""

SWEEP_SECONDS = 60.0
FIGURES_SECONDS = 1.0
"""The longest that a scrape waits for the database."""
ORPHAN_SECONDS = 3_600.0
"""A file of audio that no job names is one of a server that died, after this time."""


class Jobs:
    """The jobs of one folder; several servers may share it, with a database that they share."""

    def __init__(
        self,
        settings: Settings,
        access: Access,
        transcribers: Mapping[str, Transcribes],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open folder and database; blocks. `transcribers` may still be filling.

        Raises:
            DatabaseError: one of them cannot be had; the message begins with the setting.
        """
        assert settings.jobs_dir is not None
        folder = settings.jobs_dir.expanduser()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # transcripts are nobody else's
        except OSError as error:
            raise DatabaseError(f"{PREFIX}JOBS_DIR: {type(error).__name__}") from None
        audio_url = settings.jobs_audio_url.get_secret_value()
        try:
            self._audio = open_store(folder / "audio", audio_url, settings.spool_dir)
        except OSError as error:
            name, why = (
                ("JOBS_AUDIO_URL", error) if audio_url else ("JOBS_DIR", type(error).__name__)
            )
            raise DatabaseError(f"{PREFIX}{name}: {why}") from None
        url = settings.database_url.get_secret_value()
        try:
            self._database = Database(folder, url)
        except DatabaseError as error:
            name = "DATABASE_URL" if url else "JOBS_DIR"
            raise type(error)(f"{PREFIX}{name}: {error}") from None
        self.repeats = Repeats(
            self._database,
            lease=settings.job_lease,
            kept_s=settings.idempotency_hours * 3_600,
            clock=clock,
        )
        try:
            self.webhooks = Webhooks(settings, self._database, clock)
        except ValueError as error:
            raise DatabaseError(str(error)) from None
        self._settings = settings
        self._access = access
        self._clock = clock
        self._results_s = settings.job_results_hours * 3_600
        self._worker = Worker(
            Parts(
                self._database,
                self._audio,
                transcribers,
                access.allowances,
                access.usage,
                [self.webhooks.wake],
            ),
            lease=settings.job_lease,
            max_running=settings.max_running_jobs,
            results_s=self._results_s,
            clock=clock,
        )
        self._sweeping: asyncio.Task[None] | None = None
        self._draining: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up what earlier processes left, and begin to work.

        Raises:
            JobsUnavailable: the database failed.
        """
        for spent in await self._database.run(table.spent_by_open):
            await self._access.allowances.take_up(spent)
        self._worker.start()
        self.webhooks.start()
        self._sweeping = asyncio.create_task(self._sweep())

    def drain(self) -> None:
        """Let go of all that runs: what is done of it is kept, and another server goes on."""
        self._draining = asyncio.create_task(self._worker.stop())

    async def close(self) -> None:
        """Stop."""
        await self._worker.stop()
        await self.webhooks.stop()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])
        self._audio.close()
        await self._database.close()

    async def check_room(self, owner: str, audio: Audio | None = None) -> None:
        """Refuse one job too many, before its audio is written; once more when that is known.

        Raises:
            RateLimited: the caller has as many as it may.
            Overloaded: all callers together have, or their audio takes all the room.
            JobsUnavailable: the database does not answer.
        """
        every, own, audio_s = await self._database.run(partial(table.count_open, owner=owner))
        wait = 60
        if own >= self._settings.max_queued_jobs_per_key:
            raise RateLimited(texts.TOO_MANY_JOBS_OF_KEY.filled(count=own), retry_after=wait)
        if every >= self._settings.max_queued_jobs:
            raise Overloaded(texts.TOO_MANY_JOBS, retry_after=wait)
        taken = audio_s * SECOND_BYTES + (audio.pcm.nbytes if audio is not None else 1)
        if taken > self._settings.max_jobs_bytes:
            raise Overloaded(texts.NO_DISK, retry_after=wait, reason="jobs_full")

    async def submit(  # noqa: PLR0913, PLR0917 - what a job is made of
        self,
        caller: Principal,
        model: str,
        audio: Audio,
        asked: Asked,
        turn: Turn,
        to: Destination | None = None,
    ) -> Job:
        """Take a job: its audio and its row are on disk when this returns.

        So is that the job is what came of `turn`, if that has a key, and where its end is told.

        Raises:
            Overloaded: the disk is full.
            JobsUnavailable: the database or the audio's store failed.
        """
        now, job_id = self._clock(), f"job_{uuid.uuid4().hex}"
        new = table.NewJob(
            job_id, caller.name, model, audio.duration, asked, turn.spent, now, now + QUEUE_SECONDS
        )
        try:
            await self._audio.write(job_id, audio)
        except OSError as error:
            raise Overloaded(texts.NO_DISK, retry_after=30) from error
        # If the database fails now, the row may be there all the same: so the file stays, and
        # the sweep frees it if no row names it.
        job = await self._database.run(partial(self._add, new=new, turn=turn, to=to), durable=True)
        if turn.held is not None:
            turn.answer = Answer(None, "", "", job.id)
        self._worker.wake()
        return job

    def _add(
        self, connection: Connection, new: table.NewJob, turn: Turn, to: Destination | None
    ) -> Job:
        if turn.held is not None:
            self.repeats.keep_job(connection, turn, new.id)
        job = table.add(connection, new)
        if to is not None:
            outbox.add(connection, job, to)
        return job

    async def find(self, owner: str, job_id: str) -> Job:
        """A caller's job.

        Raises:
            JobNotFound: there is none, or it is another caller's.
        """
        job = await self._database.run(partial(table.find, job_id=job_id, owner=owner))
        if job is None:
            raise JobNotFound(texts.NO_SUCH_JOB)
        return job

    async def page(self, owner: str, after: str | None, limit: int) -> tuple[list[Job], bool]:
        """A caller's jobs, newest first, and whether there are more.

        Raises:
            JobNotFound: `after` is none of them.
        """
        jobs = await self._database.run(
            partial(table.page, owner=owner, after=after, limit=limit + 1)
        )
        if jobs is None:
            raise JobNotFound(texts.NO_SUCH_JOB, param="after")
        return jobs[:limit], len(jobs) > limit

    async def outlook(self, jobs: Sequence[Job]) -> dict[str, tuple[int, float]]:
        """Of those that are not done: how many go before, and when each is likely to be done."""
        found = await self._database.run(partial(table.places, jobs=jobs))
        now, rate = self._clock(), self._worker.throughput.rate
        by_seq = {job.seq: job.id for job in jobs}
        return {
            by_seq[seq]: (place.ahead, now + place.audio_s / rate) for seq, place in found.items()
        }

    async def transcript(self, job: Job) -> tuple[Transcript | None, Asked]:
        """A job's transcript, if it has one, and what was asked."""
        packed, asked = await self._database.run(partial(table.transcript_of, seq=job.seq))
        if packed is None:
            return None, unpack_asked(asked)
        return await asyncio.to_thread(unpack_transcript, packed), unpack_asked(asked)

    async def cancel(self, job: Job) -> None:
        """End it, or free its result; what had not begun is given back."""
        now = self._clock()
        expires = now + self._results_s + FORGET_SECONDS
        work = partial(outbox.cancel, job=job, now=now, expires=expires)
        ended, spent = await self._database.run(work, durable=True)
        self._worker.ended["cancelled"] += ended
        self.webhooks.wake()
        self._worker.cancel(job.seq)
        if spent is not None:
            await self._access.allowances.give_back(spent)
        await self._audio.delete(job.id)

    async def figures(self) -> Figures:
        """How things stand; a database that does not answer soon says nothing."""
        queue = waiting = None
        now = self._clock()
        with contextlib.suppress(JobsUnavailable, TimeoutError):
            async with asyncio.timeout(FIGURES_SECONDS):
                queue = await self._database.run(partial(table.queue_figures, now=now))
                waiting = await self._database.run(partial(outbox.figures, now=now))
        ended, told = dict(self._worker.ended), dict(self.webhooks.told)
        return Figures(queue, self._worker.running, ended, waiting, told)

    async def _sweep(self) -> None:
        while True:
            with contextlib.suppress(JobsUnavailable):
                await self.sweep()
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> None:
        """Free what is over: results, rows, audio that nobody needs."""
        work = partial(outbox.expire, now=self._clock(), forget_after=FORGET_SECONDS)
        never_ran, charged = await self._database.run(work)
        self._worker.ended["expired"] += never_ran
        for spent in charged:
            await self._access.allowances.give_back(spent)
        await self.repeats.sweep()
        names = await self._audio.older_than(ORPHAN_SECONDS)
        parts = [name for name in names if name.endswith(PART)]
        ids = [name for name in names if not name.endswith(PART)]
        gone = set(parts)
        for at in range(0, len(ids), 500):
            some = ids[at : at + 500]
            gone |= await self._database.run(partial(table.without_audio, ids=some))
        for name in gone:
            await self._audio.delete(name)
        if gone:
            structlog.get_logger().info("jobs_audio_freed", files=len(gone))
