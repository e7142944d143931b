"""A spooled upload in, `Audio` out; the decoding itself happens in a sandboxed process.

Knows: limits, the spool folder, when the media process must be started anew.
Must not know: FFmpeg, or how a decoder is locked down.
"""

import asyncio
import errno
import math
import mmap
import os
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import IO, Literal

import numpy as np

from server import texts
from server.audio.loader_io import tiny_wav
from server.audio.media_process import MediaProcess, MediaProcessDied, Verdict
from server.audio.refusals import Refusals
from server.audio.spool_space import SpoolSpace, no_room
from server.errors import InternalError, ServerError
from server.types import SAMPLE_RATE, Audio

GRACE_SECONDS = 0.25
"""What an encoder's padding may add to a recording of exactly the longest length."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What the system says when it has too little of something; waiting may help."""

RESTART_SECONDS = 1.0
"""The least time from one start of the media process to the next."""


class SandboxUnavailable(Exception):
    """The server must not start: `missing` names the sandbox's layers that are not there."""

    def __init__(self, message: str, missing: tuple[str, ...] = ()) -> None:
        """Keep the names for whoever prints them."""
        super().__init__(message)
        self.missing = missing


class Loader:
    """Decodes uploads, `max_loads` at once, each in a child process of its own."""

    def __init__(  # noqa: PLR0913 - limits, all by name
        self,
        *,
        spool_dir: Path,
        max_audio_seconds: float,
        load_timeout: float,
        max_loads: int,
        sandbox: Literal["required", "available"],
        space: SpoolSpace | None = None,
    ) -> None:
        """Keep the limits; `start` does the work. Without a `space` audio may fill the disk."""
        self._spool_dir = spool_dir
        self._max_audio_seconds = max_audio_seconds
        self._load_timeout = load_timeout
        self._refusals = Refusals(max_audio_seconds, load_timeout)
        self._sandbox = sandbox
        self._space = space or SpoolSpace(sys.maxsize)
        self._slots = asyncio.Semaphore(max_loads)
        self._starting = asyncio.Lock()
        self._process: MediaProcess | None = None
        self._started_at = -math.inf
        self._closed = False

    async def start(self) -> tuple[str, ...]:
        """Start the media process and decode a tiny clip in it.

        Call it on the thread that runs the event loop for good.

        Returns: the names of the sandbox's layers that this kernel lacks; none if `required`.

        Raises:
            SandboxUnavailable: a layer is missing and `required`, or decoding does not work.
        """
        try:
            process = await self._running()
            clip = os.memfd_create("clip")
            try:
                os.write(clip, tiny_wav())
                await self.load(clip)
            finally:
                os.close(clip)
        except (MediaProcessDied, ServerError) as error:
            raise SandboxUnavailable(f"a test clip could not be decoded: {error}") from error
        return process.missing

    async def load(self, file_descriptor: int) -> Audio:
        """Decode a file, from its first byte whatever the descriptor's offset is.

        The time limit starts when a slot is free. Cancellation kills the decoder.

        Raises:
            BadAudio: with a `reason`; not a recording, or it takes too much time or memory.
            AudioTooLong: more than `max_audio_seconds`.
            Overloaded: the spool has no room for the samples.
            InternalError: a fault of ours.
        """
        async with self._slots:
            try:
                process = await self._running()
                with tempfile.TemporaryFile(dir=self._spool_dir, buffering=0) as pcm:
                    verdict = await self._decode(process, file_descriptor, pcm)
                    return self._audio(verdict, pcm)
            except OSError as error:
                if error.errno in NO_ROOM:
                    raise no_room() from error
                raise InternalError(texts.LOADER_FAILED, reason=type(error).__name__) from error
            except (MediaProcessDied, SandboxUnavailable) as error:
                raise InternalError(texts.LOADER_FAILED, reason=type(error).__name__) from error

    @property
    def healthy(self) -> bool:
        """Whether the media process runs; if it does not, the next `load` starts another one."""
        return self._process is not None and self._process.alive

    async def close(self) -> None:
        """End the media process; loads under way fail."""
        self._closed = True
        async with self._starting:
            await self._drop()

    async def _running(self) -> MediaProcess:
        async with self._starting:
            if self._closed:
                raise MediaProcessDied("the loader is closed")
            if self._process is not None and self._process.alive:
                return self._process
            await self._drop()
            await asyncio.sleep(self._started_at + RESTART_SECONDS - time.monotonic())
            self._started_at = time.monotonic()
            process = await MediaProcess.start(
                max_samples=round((self._max_audio_seconds + GRACE_SECONDS) * SAMPLE_RATE),
                # The kernel's alarm is the second line: it goes off after our own timeout.
                seconds=math.ceil(self._load_timeout) + 1,
            )
            if process.missing and self._sandbox == "required":
                await process.close()
                raise SandboxUnavailable(
                    "this kernel lacks layers of the media sandbox: " + ", ".join(process.missing),
                    process.missing,
                )
            self._process = process
            return process

    async def _drop(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            await process.close()

    async def _decode(self, process: MediaProcess, upload: int, pcm: IO[bytes]) -> Verdict:
        # A new read-only description: the child can neither write nor move the caller's offset.
        fd = os.open(f"/proc/self/fd/{upload}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            async with asyncio.timeout(self._load_timeout):
                return await process.decode(fd, pcm.fileno())
        except TimeoutError as error:
            raise self._refusals.error("too_slow") from error
        finally:
            os.close(fd)

    def _audio(self, verdict: Verdict, pcm: IO[bytes]) -> Audio:
        warnings = self._refusals.warnings(verdict)
        # The child is gone, so nobody can change or cut the file under the map.
        size = os.fstat(pcm.fileno()).st_size
        if size == 0 or size % 2:
            raise InternalError(texts.LOADER_FAILED, reason="bad_output")
        self._space.take(size)
        try:
            mapped = mmap.mmap(pcm.fileno(), size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        except OSError:
            self._space.give_back(size)
            raise
        weakref.finalize(mapped, self._space.give_back, size)  # the file lives as long as its map
        return Audio(np.frombuffer(mapped, dtype="<i2"), warnings)
