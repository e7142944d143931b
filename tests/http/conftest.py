"""Fixtures of the edge's tests; `edge_bench` holds what they are made of."""

from pathlib import Path

import pytest
from edge_bench import Bench, build


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """The application with default settings."""
    return build(tmp_path)
