"""How a worker ends jobs: well, badly, by another's hand; with what that costs and frees."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from new_jobs import ASKED, SPENT
from sqlalchemy import update
from structlog.testing import capture_logs

from server.access.access import Access
from server.access.callers import Callers
from server.access.keys import Keyring, new_key
from server.errors import BadAudio, EngineError
from server.jobs import jobs as module
from server.jobs import outbox, worker
from server.jobs.audio_files import AudioFiles
from server.jobs.jobs import Jobs
from server.jobs.record import Job
from server.jobs.schema import JOBS
from server.jobs.turn import Turn
from server.settings import Settings
from server.texts import Text
from server.types import Audio, Principal, Transcript

AUDIO = Audio(np.zeros(16_000, dtype=np.int16))
CALLER = Principal("k", "n8n")
TEXT = Text("Nothing to be heard. Use another.", "Nada a ouvir. Use outra.")


class Script:
    """A transcriber that does what a test says, time after time."""

    def __init__(self, *steps: Callable[[], Awaitable[None]]) -> None:
        self.steps = list(steps)
        self.calls = 0
        self.cancelled = 0

    async def transcribe(self, audio: Audio, options: Any, **_: Any) -> Transcript:
        """The next step, then a transcript."""
        self.calls += 1
        try:
            if self.steps:
                await self.steps.pop(0)()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Transcript(options.task, "pt", audio.duration, "Olá.")


async def fail(error: Exception) -> None:
    """As an engine does."""
    raise error


async def hang() -> None:
    """For ever."""
    await asyncio.Event().wait()


def play(
    folder: Path, script: Script, story: Callable[[Jobs], Awaitable[None]], **settings: Any
) -> None:
    """Jobs with a worker, until the story ends."""

    async def run() -> None:
        wanted = Settings(jobs_dir=folder / "jobs", **settings)
        callers = Callers(Keyring.parse(new_key("n8n").record, today=lambda: date(2026, 1, 1)))
        access = Access.open(wanted, callers)
        jobs = Jobs(wanted, access, {"base": script})
        await jobs.start()
        try:
            async with asyncio.timeout(20):
                await story(jobs)
        finally:
            await jobs.close()
            await access.close()

    asyncio.run(run())


async def submitted(jobs: Jobs, **more: Any) -> Job:
    """A job of a second."""
    return await jobs.submit(CALLER, "base", AUDIO, ASKED, Turn(spent=more.get("spent")))


async def ended(jobs: Jobs, job: Job) -> Job:
    """The job, once it is done."""
    while (found := await jobs.find("n8n", job.id)).state in ("queued", "running"):
        await asyncio.sleep(0.01)
    return found


@pytest.fixture(autouse=True)
def _every_line() -> Iterator[None]:
    """Another test may have set the log's least level, above that of a job's line."""
    before = structlog.get_config()
    structlog.reset_defaults()
    yield
    structlog.configure(**before)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that take seconds elsewhere."""
    monkeypatch.setattr(worker, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.02)


def test_a_fault_is_tried_again(tmp_path: Path) -> None:
    """The engine may be well next time; the job is counted once."""
    script = Script(partial(fail, EngineError("x")), partial(fail, RuntimeError("y")))

    async def story(jobs: Jobs) -> None:
        job = await ended(jobs, await submitted(jobs))
        transcript, _ = await jobs.transcript(job)
        assert "succeeded" == job.state
        assert transcript is not None
        assert "Olá." == transcript.text
        assert [1] == [day.requests for day in await jobs._access.usage.by_day(None)]

    play(tmp_path, script, story)
    assert 3 == script.calls


def test_a_fault_that_stays_fails_the_job_and_is_given_back(tmp_path: Path) -> None:
    """Its owner is told a code and a sentence in either language, nothing of what it was."""
    script = Script(*[partial(fail, RuntimeError("secret"))] * 9)
    given: list[Any] = []

    async def story(jobs: Jobs) -> None:
        async def note(spent: object) -> None:
            given.append(spent)

        jobs._access.allowances.give_back = note  # type: ignore[method-assign]
        job = await ended(jobs, await submitted(jobs, spent=SPENT))
        assert job.error is not None
        assert ("failed", "internal_error") == (job.state, job.error.code)
        assert "secret" not in job.error.en + job.error.pt
        assert job.error.en != job.error.pt
        assert (None, ASKED) == await jobs.transcript(job)
        assert [] == await jobs._access.usage.by_day(None)
        assert [] == list((tmp_path / "jobs" / "audio").iterdir())

    play(tmp_path, script, story)
    assert worker.MAX_ATTEMPTS == script.calls
    assert [SPENT] == given


def test_what_is_the_callers_fault_fails_at_once(tmp_path: Path) -> None:
    """Trying again would not help, and nothing is given back."""
    script = Script(partial(fail, BadAudio(TEXT)))

    async def story(jobs: Jobs) -> None:
        job = await ended(jobs, await submitted(jobs))
        assert job.error is not None
        assert ("failed", "invalid_audio", TEXT.en, TEXT.pt) == (
            job.state,
            job.error.code,
            job.error.en,
            job.error.pt,
        )

    play(tmp_path, script, story)
    assert 1 == script.calls


def test_a_recording_that_kills_its_server_is_given_up(tmp_path: Path) -> None:
    """After ten claims without one more window, whoever they were by."""
    script = Script(hang)

    async def story(jobs: Jobs) -> None:
        job = await submitted(jobs)
        while not script.calls:
            await asyncio.sleep(0.01)
        dead = update(JOBS).values(attempts=worker.MAX_CLAIMS, claim="another", lease_until=0.0)
        await jobs._database.run(lambda c: c.execute(dead))
        found = await ended(jobs, job)
        assert found.error is not None
        assert ("failed", "engine_error") == (found.state, found.error.code)

    play(tmp_path, script, story, job_lease=1)
    assert (1, 1) == (script.calls, script.cancelled)


def test_a_job_that_was_lost_is_left_alone(tmp_path: Path) -> None:
    """The heartbeat finds out; its work is cancelled, and nothing is written."""
    script = Script(hang)

    async def story(jobs: Jobs) -> None:
        job = await submitted(jobs)
        while not script.calls:
            await asyncio.sleep(0.01)
        theirs = update(JOBS).values(claim="another", lease_until=time.time() + 99)
        await jobs._database.run(lambda c: c.execute(theirs))
        while not script.cancelled:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert "running" == (await jobs.find("n8n", job.id)).state

    play(tmp_path, script, story, job_lease=1)
    assert 1 == script.calls


@pytest.mark.parametrize("error", [None, BadAudio(TEXT)])
def test_a_job_that_was_lost_is_not_told_twice(tmp_path: Path, error: Exception | None) -> None:
    """A server that was frozen for longer than a lease wakes up with a job that another has."""
    go = asyncio.Event()

    async def freeze() -> None:
        await go.wait()
        if error is not None:
            raise error

    script = Script(freeze)

    async def story(jobs: Jobs) -> None:
        job = await submitted(jobs)
        while not script.calls:
            await asyncio.sleep(0.01)
        theirs = update(JOBS).values(claim="another", lease_until=time.time() + 99)
        await jobs._database.run(lambda c: c.execute(theirs))
        go.set()
        while jobs._worker.running:
            await asyncio.sleep(0.01)
        assert "running" == (await jobs.find("n8n", job.id)).state

    with capture_logs() as lines:
        play(tmp_path, script, story, job_lease=60)
    assert [] == [line for line in lines if line["event"] == "job"]


def test_no_more_than_a_number_run_at_once(tmp_path: Path) -> None:
    """The others wait in the table."""
    script = Script(*[partial(asyncio.sleep, 0.2)] * 3)
    states: list[str] = []

    async def story(jobs: Jobs) -> None:
        made = [await submitted(jobs) for _ in range(3)]
        while script.calls < 2:
            await asyncio.sleep(0.01)
        states.extend([(await jobs.find("n8n", job.id)).state for job in made])
        for job in made:
            assert "succeeded" == (await ended(jobs, job)).state

    play(tmp_path, script, story, max_running_jobs=2)
    assert ["running", "running", "queued"] == states


def test_charges_of_unfinished_jobs_outlive_the_process(tmp_path: Path) -> None:
    """The next one counts them before it admits anybody."""
    until = time.time() + 3_600

    async def first(jobs: Jobs) -> None:
        spent = await jobs._access.allowances.spend(CALLER, 50.0)
        assert spent.counters[0].until <= until
        await submitted(jobs, spent=spent)
        while not script.calls:
            await asyncio.sleep(0.01)

    async def second(jobs: Jobs) -> None:
        with pytest.raises(Exception, match="minutes of audio"):
            await jobs._access.allowances.spend(CALLER, 50.0)

    for story in (first, second):
        script = Script(hang)
        play(tmp_path, script, story, audio_minutes_per_hour=1)


def test_audio_that_nobody_needs_is_swept_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of servers that died between the file and the row, or between the end and the file's."""
    script = Script(hang)

    async def story(jobs: Jobs) -> None:
        job = await submitted(jobs)
        files = AudioFiles(tmp_path / "jobs" / "audio")
        files.write("job_of_nobody", AUDIO)
        (tmp_path / "jobs" / "audio" / "job_half.part").touch()
        monkeypatch.setattr(module, "ORPHAN_SECONDS", -1.0)
        await jobs.sweep()
        assert [job.id] == [each.name for each in (tmp_path / "jobs" / "audio").iterdir()]

    play(tmp_path, script, story)


@pytest.mark.parametrize("step", ["end", "delete"])
def test_a_stop_lets_an_end_be_told_that_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Not only the table knows of it: the log, the counts, and the audio is gone."""
    reached, counted = threading.Event(), []
    end, delete = outbox.end, AudioFiles.delete

    def slow_end(*arguments: Any, **named: Any) -> bool:
        if step == "end":
            reached.set()
            time.sleep(0.3)
        return end(*arguments, **named)

    def slow_delete(files: AudioFiles, job_id: str) -> None:
        if step == "delete":
            reached.set()
            time.sleep(0.3)
        delete(files, job_id)

    monkeypatch.setattr(outbox, "end", slow_end)
    monkeypatch.setattr(AudioFiles, "delete", slow_delete)

    async def story(jobs: Jobs) -> None:
        await submitted(jobs)
        assert await asyncio.to_thread(reached.wait, 10)
        counted.append(jobs._worker.ended)

    with capture_logs() as lines:
        play(tmp_path, Script(), story)
    assert 1 == counted[0]["succeeded"]
    assert ["succeeded"] == [line["state"] for line in lines if line["event"] == "job"]
    assert [] == list((tmp_path / "jobs" / "audio").iterdir())
