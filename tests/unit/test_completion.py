"""`ops completion`: shells complete commands and options, and run them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ops.__main__ import main

ROOT = Path(__file__).resolve().parents[2]


def script(shell: str) -> str:
    """What goes into a shell's start file."""
    done = CliRunner().invoke(main, ["completion", shell])
    assert 0 == done.exit_code, done.output
    return done.stdout


def completed(shell: str, line: str) -> list[str]:
    """What the command offers for the last word of a line."""
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-m", "ops"],
        env={
            "PYTHONPATH": str(ROOT),
            "_OPS_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_bash_completes_and_runs(tmp_path: Path) -> None:
    """A real bash, far from the checkout, after nothing but the script."""
    (tmp_path / "rc").write_text(script("bash"))
    ask = (
        ". ./rc; COMP_WORDS=(ops engines re); COMP_CWORD=2; _ops_completion ops; "
        'echo "${COMPREPLY[@]}"; complete -p ops; ops keys list --file /dev/null --json'
    )
    done = subprocess.run(
        ["bash", "-c", ask],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    offered, registered, listed = done.stdout.splitlines()

    assert ("rebuild", "[]") == (offered, listed), done.stderr
    assert "-F _ops_completion ops" in registered


def test_zsh_is_offered_descriptions() -> None:
    """Commands with their help, options, and the values of an option."""
    assert ["plain", "transcribe"] == completed("zsh", "ops tran")[:2]
    assert "--max-wer" in completed("zsh", "ops smoke --m")
    assert ["srt"] == completed("zsh", "ops transcribe -f s")[1::3]


def test_the_script_for_zsh() -> None:
    """It asks this checkout, and no program that is called `ops`."""
    text = script("zsh")
    assert text.count(f"PYTHONPATH={ROOT}") == 2
    assert "compdef _ops_completion ops" in text
    assert "$+commands[ops]" not in text


@pytest.mark.parametrize("arguments", [["completion"], ["completion", "tcsh"]])
def test_other_shells_are_refused(arguments: list[str]) -> None:
    """With those that there are."""
    done = CliRunner().invoke(main, arguments)
    assert (2, True) == (done.exit_code, "bash|zsh" in done.output or "'bash'" in done.output)
