"""A server process that does not come up is reported with what it said."""

import os
import time

import pytest

from ops.demo import _warn_of_sandbox
from ops.process import ServerProcess, ServerProcessError, _port_in


def test_a_server_that_ends_is_reported_with_its_last_lines() -> None:
    """Its exit status and its own words, within moments."""
    environ = os.environ | {"SUSSURRO_NO_SUCH": "1"}
    started = time.monotonic()
    with (
        ServerProcess(environ) as server,
        pytest.raises(ServerProcessError, match=r"ended with 78.*(?s:.*)SUSSURRO_NO_SUCH"),
    ):
        server.wait_until_ready()
    assert time.monotonic() - started < 30


def test_a_server_that_never_gets_ready_is_stopped() -> None:
    """The wait has an end, and so has the process."""
    with ServerProcess(dict(os.environ)) as server:
        with pytest.raises(ServerProcessError, match="not ready in 0 s"):
            server.wait_until_ready(timeout=0.0)
        process = server._process
    assert None is not process.returncode


@pytest.mark.parametrize(
    ("line", "port"),
    [
        ('{"event": "listening", "port": 9005}', 9005),
        ('{"event": "ready", "port": 9005}', 0),
        ('{"event": "listening"}', 0),
        ('"listening"', 0),
        ("Traceback (most recent call last):", 0),
    ],
)
def test_the_port_is_in_one_line_only(line: str, port: int) -> None:
    """Whatever else is logged is no port."""
    assert port == _port_in(line)


def test_the_demo_passes_on_what_the_sandbox_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    """A person should not have to read the server's log for it."""
    _warn_of_sandbox('{"event":"ready"}\n')
    assert "" == capsys.readouterr().err
    _warn_of_sandbox('{"event":"sandbox_incomplete","missing":["landlock"]}\n')
    assert "landlock" in capsys.readouterr().err
