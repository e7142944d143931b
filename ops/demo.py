"""`ops demo`: speech in, text out, through the real server.

Knows: a throw-away server on a free loopback port, and how its answer is shown.
Must not know: how the server works; it is a client like any other.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import click

from ops.client import Client, ClientError
from ops.process import ServerProcess, ServerProcessError
from ops.weights.command import get_models
from server.access.keys import new_key

SAMPLES = Path(__file__).parent / "samples"
LONGEST_TWICE = 300.0
"""Seconds of audio; what is longer is not transcribed a second time to show subtitles."""


@click.command()
@click.argument(
    "files", nargs=-1, metavar="[FILE]...", type=click.Path(exists=True, path_type=Path)
)
def demo(files: tuple[Path, ...]) -> None:
    """Transcribe FILE, or two spoken samples, with a server started for it and stopped after."""
    get_models()
    try:
        with _running_server() as client:
            for file in files or sorted(SAMPLES.glob("*.ogg")):
                _show(client, file)
    except (ServerProcessError, ClientError) as error:
        raise click.ClickException(str(error)) from error


@contextlib.contextmanager
def _running_server() -> Iterator[Client]:
    """A server with a throw-away key, of which it only knows the hash; and a client of it."""
    made = new_key("demo")
    # What the person has set stays, except where the demo would reach or be reached elsewhere.
    environ = {k: v for k, v in os.environ.items() if k != "SUSSURRO_API_KEYS_FILE"}
    environ |= {"SUSSURRO_API_KEYS": made.record, "SUSSURRO_HOST": "127.0.0.1"}
    environ |= {"SUSSURRO_PORT": "0", "SUSSURRO_LOG_LEVEL": "info"}
    environ.setdefault("SUSSURRO_SANDBOX", "available")
    click.echo("Starting the server…", err=True)
    started = time.monotonic()
    with ServerProcess(environ, on_line=_warn_of_sandbox) as server:
        server.wait_until_ready()
        took = time.monotonic() - started
        click.echo(f"Ready on port {server.port} after {took:.1f} s.", err=True)
        try:
            yield Client(server.url, made.key)
        except ClientError as error:
            if error.refused:
                raise
            raise ClientError(f"{error}\n{server.last_lines()}") from error


def _warn_of_sandbox(line: str) -> None:
    """Pass on what the server says of its sandbox, should the kernel lack a layer."""
    if '"sandbox_incomplete"' in line:
        layers = ", ".join(json.loads(line)["missing"])
        click.echo(f"Warning: this kernel lacks layers of the media sandbox: {layers}.", err=True)


def _show(client: Client, file: Path) -> None:
    """Print one file's text, subtitles and speed."""
    click.echo(f"\n{file.name}")
    started = time.monotonic()
    answer = client.transcribe(file, "verbose_json").json()
    wall = time.monotonic() - started
    duration = float(answer["duration"])
    click.echo(f"\n{answer['text'].strip()}\n")
    if duration <= LONGEST_TWICE:
        click.echo(client.transcribe(file, "srt").text.rstrip())
    click.echo(
        f"\n{duration:.1f} s of {answer['language']} in {wall:.1f} s: "
        f"real-time factor {wall / max(duration, 0.001):.2f}"
    )
