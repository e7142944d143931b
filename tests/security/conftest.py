"""A running loader for the tests of hostile and honest media."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from server_process import Start, launcher

from server.audio.loader import Loader
from server.types import Audio

MAX_AUDIO_SECONDS = 60.0

OpenRoom = Callable[..., "LoadingRoom"]
"""Opens a loader of a test's own; takes the limits that differ."""


class LoadingRoom:
    """A loader with its event loop; every file goes in through an unlinked memory file."""

    def __init__(self, spool: Path, *, start: bool = True, **limits: object) -> None:
        """Start a loader with short limits; `limits` replace some of them."""
        values: dict[str, Any] = {
            "spool_dir": spool,
            "max_audio_seconds": MAX_AUDIO_SECONDS,
            "load_timeout": 20.0,
            "max_loads": 2,
            "sandbox": "required",
        }
        self.runner = asyncio.Runner()
        self.loader = Loader(**(values | limits))
        if start:
            self.runner.run(self.loader.start())

    def load(self, content: bytes) -> Audio:
        """Load a file that holds `content`."""
        with self.file(content) as fd:
            return self.runner.run(self.loader.load(fd))

    @property
    def pid(self) -> int:
        """The media process."""
        process = self.loader._process
        assert process is not None
        return process.pid

    def file(self, content: bytes) -> "MemoryFile":
        """A context: the descriptor of a file that holds `content`."""
        return MemoryFile(content)

    def close(self) -> None:
        """End the loader and its loop."""
        self.runner.run(self.loader.close())
        self.runner.close()


class MemoryFile:
    """A file without a name, open while the context lasts."""

    def __init__(self, content: bytes) -> None:
        """Keep what the file will hold."""
        self._content = content

    def __enter__(self) -> int:
        """Its descriptor; the offset is at the end, as after an upload."""
        self._fd = os.memfd_create("upload")
        os.write(self._fd, self._content)
        return self._fd

    def __exit__(self, *error: object) -> None:
        os.close(self._fd)


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadingRoom]:
    """One loader for all tests that leave it as it was."""
    room = LoadingRoom(tmp_path_factory.mktemp("spool"))
    yield room
    room.close()


@pytest.fixture
def open_room(tmp_path: Path) -> Iterator[OpenRoom]:
    """A function that opens loaders of a test's own, closed when the test ends."""
    rooms: list[LoadingRoom] = []

    def opened(**limits: object) -> LoadingRoom:
        rooms.append(LoadingRoom(tmp_path, **limits))
        return rooms[-1]

    yield opened
    for room in rooms:
        room.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers with settings and arguments; they are killed at the end of the test."""
    with launcher(tmp_path) as launch:
        yield launch
