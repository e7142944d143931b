"""The audio of jobs that are not done: one file of samples each, in one folder.

Knows: files, and when they are safe on disk.
Must not know: jobs, databases. Everything here blocks.
"""

import os
import time
from pathlib import Path

import numpy as np

from server.types import Audio

PART = ".part"


class AudioFiles:
    """int16 samples at 16 kHz, as `Audio` has them: 32 kB a second."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if it is not there.

        Raises:
            OSError: it cannot be made or written.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    def write(self, job_id: str, audio: Audio) -> None:
        """Write a recording; it is on disk, under its name, when this returns.

        Raises:
            OSError: the disk is full, for example; then nothing is left behind.
        """
        part = self._folder / f"{job_id}{PART}"
        try:
            # the process' umask may let others read
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as out:  # noqa: PTH123 - of a descriptor
                out.write(audio.pcm.data)
                out.flush()
                os.fsync(out.fileno())
            part.rename(self._folder / job_id)
            _sync_folder(self._folder)
        except BaseException:
            part.unlink(missing_ok=True)
            (self._folder / job_id).unlink(missing_ok=True)
            raise

    def read(self, job_id: str, warnings: tuple[str, ...]) -> Audio:
        """A recording, as a map of its file; the file may be deleted meanwhile.

        Raises:
            OSError: it is not there.
        """
        return Audio(np.memmap(self._folder / job_id, dtype="<i2", mode="r"), warnings)

    def delete(self, job_id: str) -> None:
        """Free it; nothing if it is gone."""
        (self._folder / job_id).unlink(missing_ok=True)

    def older_than(self, seconds: float) -> list[str]:
        """Names of files that were written so long ago, unfinished ones included."""
        limit = time.time() - seconds
        names = []
        for entry in os.scandir(self._folder):
            try:
                if entry.stat().st_mtime < limit:
                    names.append(entry.name)
            except FileNotFoundError:
                continue  # another server has just freed it
        return names


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
