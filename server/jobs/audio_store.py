"""Where the audio of jobs lies, as those who run jobs see it: written, read, freed, swept.

Knows: which of the two stores there is, threads, what is finished though nobody waits any more.
Must not know: jobs, databases, how a store keeps a recording.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from server.jobs.audio_files import AudioFiles
from server.types import Audio

T = TypeVar("T")

THREADS = 8
"""Of their own: a store that hangs must not hold up what other threads do for requests."""


class Store(Protocol):
    """Blocks. `AudioFiles` is one, `AudioObjects` the other."""

    def write(self, job_id: str, audio: Audio) -> None:
        """Safe when this returns."""
        ...

    def read(self, job_id: str, warnings: tuple[str, ...]) -> Audio:
        """What was written."""
        ...

    def delete(self, job_id: str) -> None:
        """Free it; nothing if it is gone."""
        ...

    def older_than(self, seconds: float) -> list[str]:
        """Names of what was written so long ago."""
        ...


class AudioStore:
    """A store, used from the event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="jobs-audio")

    async def write(self, job_id: str, audio: Audio) -> None:
        """Keep a recording; it is safe when this returns.

        To its end also when cancelled: the recording must not be closed while it is written.

        Raises:
            OSError: the disk is full.
            JobsUnavailable: the store does not answer.
        """
        writing = asyncio.ensure_future(self._run(lambda: self._store.write(job_id, audio)))
        try:
            await asyncio.shield(writing)
        finally:
            await asyncio.wait([writing])

    async def read(self, job_id: str, warnings: tuple[str, ...]) -> Audio:
        """A recording; it may be deleted meanwhile.

        Raises:
            OSError: it is not there.
            JobsUnavailable: the store does not answer, or there is no room for a copy.
        """
        return await self._run(lambda: self._store.read(job_id, warnings))

    async def delete(self, job_id: str) -> None:
        """Free it; nothing if it is gone."""
        await self._run(lambda: self._store.delete(job_id))

    async def older_than(self, seconds: float) -> list[str]:
        """Names of what was written so long ago, unfinished files included.

        Raises:
            JobsUnavailable: the store does not answer.
        """
        return await self._run(lambda: self._store.older_than(seconds))

    def close(self) -> None:
        """Take nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def open_store(folder: Path, url: str, copies: Path) -> AudioStore:
    """The store at `url`, or the folder where there is none; blocks.

    Args:
        folder: of audio on this machine.
        url: of an object store, as fsspec has them.
        copies: where recordings of an object store lie while they are worked on.

    Raises:
        OSError: it cannot be had; for a URL, the message says why.
    """
    if not url:
        return AudioStore(AudioFiles(folder))
    try:
        from server.jobs.audio_objects import AudioObjects  # noqa: PLC0415 - optional
    except ImportError as error:
        raise OSError(f"needs requirements/s3.txt ({error.name} is missing)") from None
    return AudioStore(AudioObjects(url, copies))
