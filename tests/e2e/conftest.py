"""Fixtures of the tests with a real process; `server_process` holds what they are made of."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import FAKE, Process, Start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers with settings and arguments; they are killed at the end of the test."""
    with contextlib.ExitStack() as stack:

        def launch(*arguments: str, **environ: str) -> Process:
            folder = tmp_path / str(time.monotonic_ns())
            folder.mkdir()
            process = Process(list(arguments) or [FAKE], environ, folder)
            stack.callback(process.popen.wait, 30)
            stack.callback(process.popen.kill)
            return process

        yield launch
