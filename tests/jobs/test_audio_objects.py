"""Audio by URL, here of a folder; `./just object-store` does it with a store that speaks S3."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_worker import Script, ended, play, submitted

from server import texts
from server.errors import JobsUnavailable
from server.jobs import worker
from server.jobs.audio_objects import AudioObjects
from server.jobs.audio_store import AudioStore
from server.jobs.jobs import Jobs
from server.types import Audio

AUDIO = Audio(np.arange(-500, 500, dtype=np.int16), ("audio_truncated",))


@pytest.fixture
def objects(tmp_path: Path) -> AudioObjects:
    """In a folder that is not there yet."""
    return AudioObjects(f"file://{tmp_path}/objects", tmp_path)


def test_audio_comes_back_as_it_was(objects: AudioObjects) -> None:
    """Also after its object is gone, while somebody has it open; nothing is left in the spool."""
    objects.write("job_1", AUDIO)
    read = objects.read("job_1", AUDIO.warnings)
    objects.delete("job_1")
    objects.delete("job_1")

    assert AUDIO.pcm.tolist() == read.pcm.tolist()
    assert AUDIO.warnings == read.warnings
    with pytest.raises(FileNotFoundError):
        objects.read("job_1", ())


def test_old_objects_are_found(objects: AudioObjects, tmp_path: Path) -> None:
    """Young ones may be another server's that is just writing; what is not ours stays."""
    for name in ("job_old", "job_young", "notes.txt"):
        objects.write(name, AUDIO)
    for name in ("job_old", "notes.txt"):
        os.utime(tmp_path / "objects" / name, (1, 1))

    assert ["job_old"] == objects.older_than(3_600)


def test_nothing_is_found_where_nothing_was_written(objects: AudioObjects) -> None:
    """The place need not have been there."""
    assert [] == objects.older_than(0)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("s3x://bucket", "no URL that fsspec knows"),
        ("dropbox://secret", "the library for such a URL is not installed"),
        ("ftp://name:word@127.0.0.1:1/secret", r"cannot be reached \(ConnectionRefusedError\)"),
    ],
)
def test_a_store_that_cannot_be_had_is_told_at_the_start(
    url: str, why: str, tmp_path: Path
) -> None:
    """In words that hold no secret."""
    with pytest.raises(OSError, match=f"^{why}$"):
        AudioObjects(url, tmp_path)


def test_a_store_that_fails_is_no_fault_of_the_recording(
    objects: AudioObjects, tmp_path: Path
) -> None:
    """It may answer the next time. What could not be freed is left to the sweep."""
    (tmp_path / "objects").rmdir()
    (tmp_path / "objects").write_text("no folder any more")
    for work in (
        lambda: objects.write("job_1", AUDIO),
        lambda: objects.read("job_1", ()),
    ):
        with pytest.raises(JobsUnavailable):
            work()
    objects.delete("job_1")


def test_jobs_wait_for_their_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it fails, no job does; and the caller's place in the queue is kept."""
    read, failures = AudioObjects.read, 3 * worker.MAX_CLAIMS
    calls: list[str] = []

    def failing(self: AudioObjects, job_id: str, warnings: tuple[str, ...]) -> Audio:
        calls.append(job_id)
        if len(calls) <= failures:
            raise JobsUnavailable(texts.JOBS_UNAVAILABLE, reason="audio_store")
        return read(self, job_id, warnings)

    monkeypatch.setattr(AudioObjects, "read", failing)
    monkeypatch.setattr(worker, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.02)

    async def story(jobs: Jobs) -> None:
        job = await ended(jobs, await submitted(jobs))
        assert "succeeded" == job.state
        assert failures + 1 == len(calls)
        while list((tmp_path / "objects").iterdir()):  # freed a moment after the end
            await asyncio.sleep(0.01)

    url: dict[str, Any] = {"jobs_audio_url": f"file://{tmp_path}/objects", "spool_dir": tmp_path}
    play(tmp_path, Script(), story, **url)
    assert not (tmp_path / "jobs" / "audio").exists()


class Slow:
    """A store that takes its time."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work

    def write(self, _job_id: str, _audio: Audio) -> None:
        self._work()

    def read(self, _job_id: str, _warnings: tuple[str, ...]) -> Audio:
        raise NotImplementedError

    def delete(self, _job_id: str) -> None:
        raise NotImplementedError

    def older_than(self, _seconds: float) -> list[str]:
        raise NotImplementedError


def test_a_recording_stays_open_until_it_is_written() -> None:
    """Whoever asked for it may have left."""
    done: list[bool] = []

    def work() -> None:
        time.sleep(0.2)
        done.append(True)

    async def run() -> None:
        writing = asyncio.create_task(AudioStore(Slow(work)).write("job_1", AUDIO))
        await asyncio.sleep(0.05)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert done

    asyncio.run(run())
