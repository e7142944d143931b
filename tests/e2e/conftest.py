"""Fixtures of the tests with a real process; `server_process` holds what they are made of."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import Start, launcher


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers with settings and arguments; they are killed at the end of the test."""
    with launcher(tmp_path) as launch:
        yield launch
