"""The README's examples, run as printed against the real server with the real model."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from server_process import KEY, ROOT, Start

pytestmark = pytest.mark.model

README = (ROOT / "README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:9005"
SPOKEN = "this is a short test recording"


def example(language: str, start: str) -> str:
    """The one block of code that begins so."""
    blocks = re.findall(rf"^```{language}\n({start}.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert 1 == len(blocks)
    assert ADDRESS in blocks[0]
    return str(blocks[0])


@pytest.mark.parametrize(
    ("command", "language", "first_word"),
    [(["sh", "-euc"], "sh", "curl"), ([sys.executable, "-c"], "python", "import os")],
    ids=["curl", "python"],
)
def test_an_example_works_as_printed(
    start: Start, weights_dir: Path, command: list[str], language: str, first_word: str
) -> None:
    """Only the port differs, for another server may have it."""
    if language == "sh" and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    server = start("-m", "server", SUSSURRO_WEIGHTS_DIR=str(weights_dir)).ready()
    code = example(language, first_word).replace(ADDRESS, server.url)
    done = subprocess.run(
        [*command, code],
        cwd=ROOT,
        env=os.environ | {"KEY": KEY.key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert SPOKEN in done.stdout
