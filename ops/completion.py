"""`ops completion`: what a shell needs to complete the commands' names and options.

Knows: click's scripts, and that `ops` here is a module and not a program.
Must not know: which commands there are.
"""

import shlex
import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class

ROOT = Path(__file__).resolve().parent.parent
RUNS = {"bash": "bash_complete $1)", "zsh": "zsh_complete ops)"}
"""Where click's script runs the command."""
PROGRAMS_ONLY = "    (( ! $+commands[ops] )) && return 1\n"
"""In the script for zsh; here it is a function."""


@click.command()
@click.argument("shell", type=click.Choice(sorted(RUNS)))
def completion(*, shell: str) -> None:
    """Print a script that defines `ops` in SHELL and completes it.

    In ~/.bashrc: eval "$(/path/to/just ops completion bash)"; in ~/.zshrc the same with zsh, after
    compinit.
    """
    kind = get_completion_class(shell)
    assert kind, "click knows these shells"
    script = kind(click.Command("ops"), {}, "ops", "_OPS_COMPLETE").source()
    command = f"env PYTHONPATH={shlex.quote(str(ROOT))} {shlex.quote(sys.executable)} -m ops"
    assert RUNS[shell] in script, "this is a bug: click's script has changed"
    called = f"{shell}_complete {command})"
    click.echo(f'ops() {{ {command} "$@"; }}')
    click.echo(script.replace(RUNS[shell], called).replace(PROGRAMS_ONLY, ""))
