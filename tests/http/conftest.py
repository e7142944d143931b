"""Fixtures of the edge's tests; `edge_bench` holds what they are made of."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from edge_bench import LOGS, OPEN, Bench, build
from log_lines import check


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """The application with default settings."""
    return build(tmp_path)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Whatever a test built is closed after it; what it logged is as documented."""
    yield
    while OPEN:
        asyncio.run(OPEN.pop().close())
    while LOGS:
        check(LOGS.pop().getvalue())
