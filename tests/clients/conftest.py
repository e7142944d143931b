"""What the tests with other clients share: Node, and servers to talk to."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from node_sdk import Node, call_node
from server_process import Start, launcher


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--write-page`."""
    parser.addoption("--write-page", action="store_true", help="write docs/errors-as-read.md anew")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers with settings and arguments; they are killed at the end of the test."""
    with launcher(tmp_path) as launch:
        yield launch


@pytest.fixture(scope="session")
def node() -> Node:
    """See `call_node`."""
    return call_node
