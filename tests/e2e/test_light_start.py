"""What a server has no use for is not in its memory."""

from pathlib import Path

import pytest
from server_process import FAKE, Start


@pytest.mark.parametrize("jobs", [False, True])
def test_only_a_server_with_jobs_loads_sqlalchemy(
    start: Start, tmp_path: Path, *, jobs: bool
) -> None:
    """It costs 12 MB, and a tenth of a second of a start, more from a cold disk."""
    environ = {"SUSSURRO_JOBS_DIR": str(tmp_path / "jobs")} if jobs else {}
    server = start("-X", "importtime", FAKE, SUSSURRO_DRAIN_GRACE="0", **environ).ready()
    assert 0 == server.stop()
    imported = {line.rpartition("|")[2].strip() for line in server.stderr.splitlines()}

    assert "server.http.jobs" in imported
    assert jobs == ("sqlalchemy" in imported)
    assert jobs == ("server.jobs.worker" in imported)
