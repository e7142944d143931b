"""A live server against its own `/openapi.json`, as schemathesis reads it.

`./just contract` runs it for longer.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from server_process import KEY, Start

EXAMPLES = os.environ.get("SUSSURRO_TEST_EXAMPLES", "3")
SEED = os.environ.get("SUSSURRO_TEST_SEED", "1")


@pytest.mark.timeout(3_600)
def test_a_live_server_does_what_its_description_says(start: Start, tmp_path: Path) -> None:
    """No undocumented answer, no body, header or type that is not described, no 5xx.

    Nor is anything taken that the description forbids. Whether all is taken that it allows,
    tests/http/test_openapi.py shows: schemathesis cannot know which fields go together.
    """
    # jobs, too; and every request without a key gets 401, however many they are
    jobs = str(tmp_path / "jobs")
    server = start(SUSSURRO_JOBS_DIR=jobs, SUSSURRO_FAILURES_PER_MINUTE="10000").ready()
    run = subprocess.run(
        [
            Path(sys.executable).with_name("st"),
            "run",
            f"{server.url}/openapi.json",
            f"--header=Authorization: Bearer {KEY.key}",
            "--phases=coverage,fuzzing",
            "--checks=all",
            "--exclude-checks=positive_data_acceptance",
            f"--max-examples={EXAMPLES}",
            f"--seed={SEED}",
            "--generation-database=none",
            "--workers=2",
            "--warnings=off",  # that most ids of jobs are of none
            "--no-color",
        ],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PYTHONPATH": str(Path(__file__).parent),
            "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == run.returncode, run.stdout[:20_000] + run.stderr
    assert "No issues found" in run.stdout
    assert [] == server.lines("fault")
    answered = [line for line in server.lines("request") if line["status"] in (200, 202)]
    assert 20 < sum(line.get("task") is not None for line in answered)
