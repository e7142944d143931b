"""Where an upload lies while it is read: a file without a name, gone when it is closed.

Knows: the folder, batches of bytes, the threads that write them.
Must not know: forms, limits, audio.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from server.audio.spool_space import SpoolSpace, no_room

BATCH_BYTES = 1 << 20
"""Bytes kept in memory before a thread writes them: a thread a network read would cost more."""

WRITERS = 4
"""Threads of our own: the common pool may be busy with computing for seconds."""

T = TypeVar("T")


class Spool:
    """One upload, open for writing, then for reading by its descriptor."""

    def __init__(
        self, file: BinaryIO, writers: ThreadPoolExecutor, space: SpoolSpace, *, hashed: bool
    ) -> None:
        self.size = 0
        self._file = file
        self._space = space
        self._writers = writers
        self._batch = bytearray()
        self._hash = hashlib.sha256() if hashed else None

    async def write(self, chunk: bytes) -> None:
        """Append; a full batch goes to the disk before this returns.

        Raises:
            Overloaded: the disk is full, or all uploads together are too much for it.
        """
        self._space.take(len(chunk))
        self._batch += chunk
        self.size += len(chunk)
        if len(self._batch) >= BATCH_BYTES:
            await self._flush()

    async def rewind(self) -> int:
        """Write what is left; the file's descriptor, at its start.

        Raises:
            Overloaded: the disk is full.
        """
        await self._flush()
        self._file.seek(0)
        return self._file.fileno()

    async def digest(self) -> bytes:
        """SHA-256 of what was written; only of a spool that was opened for it.

        Raises:
            Overloaded: the disk is full.
        """
        await self._flush()
        assert self._hash is not None, "This is a bug: a digest of what was not hashed."
        return self._hash.digest()

    async def close(self) -> None:
        """Free the disk space now; idempotent. Freeing a gigabyte takes a while, so in a thread."""
        if (
            not self._file.closed
        ):  # then nothing waits between the count of a request and its answer
            try:
                await _in_thread(self._writers, self._file.close)
            finally:
                self._space.give_back(self.size)

    async def _flush(self) -> None:
        batch, self._batch = self._batch, bytearray()
        try:
            await _in_thread(self._writers, lambda: self._put(batch))
        except OSError as error:
            raise no_room() from error

    def _put(self, batch: bytearray) -> None:
        _write_all(self._file, batch)
        if self._hash is not None:
            self._hash.update(batch)


class Spools:
    """Opens spools in one folder."""

    def __init__(self, folder: Path, space: SpoolSpace) -> None:
        self._folder = folder
        self._space = space
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="spool")

    @asynccontextmanager
    async def open(self, *, hashed: bool = False) -> AsyncIterator[Spool]:
        """A spool that is freed at the end, however that comes about; `hashed` for its digest.

        Raises:
            Overloaded: the folder takes no file.
        """
        created: list[BinaryIO] = []
        try:
            await _in_thread(self._writers, lambda: created.append(self._create()))
        except OSError as error:
            raise no_room() from error
        except asyncio.CancelledError:
            for file in created:  # made, but nobody was told any more
                file.close()
            raise
        spool = Spool(created[0], self._writers, self._space, hashed=hashed)
        try:
            yield spool
        finally:
            await spool.close()

    def _create(self) -> BinaryIO:
        """An unlinked file: not even a crash leaves an upload behind. Unbuffered: we batch."""
        return cast("BinaryIO", tempfile.TemporaryFile(buffering=0, dir=self._folder))


def _write_all(file: BinaryIO, batch: bytearray) -> None:
    """Unbuffered files may take less than they are given."""
    rest = memoryview(batch)
    while rest:
        rest = rest[file.write(rest) :]


async def _in_thread(writers: ThreadPoolExecutor, job: Callable[[], T]) -> T:
    """Run a job to its end even when cancelled: its file must not be closed under it."""
    running = asyncio.get_running_loop().run_in_executor(writers, job)
    try:
        return await asyncio.shield(running)
    finally:
        await asyncio.wait([running])
