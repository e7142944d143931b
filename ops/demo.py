"""`ops demo`: speech in, text out, through the real server.

Knows: a throw-away server on a free loopback port, and how its answer is shown.
Must not know: how the server works; it is a client like any other.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import click

from ops.client import Client, ClientError
from ops.options import AS_JSON
from ops.own_server import own_server
from ops.process import ServerProcessError
from ops.weights.command import get_models

SAMPLES = Path(__file__).parent / "samples"
LONGEST_TWICE = 300.0
"""Seconds of audio; what is longer is not transcribed a second time to show subtitles."""


@click.command()
@click.argument(
    "files", nargs=-1, metavar="[FILE]...", type=click.Path(exists=True, path_type=Path)
)
@AS_JSON
def demo(*, files: tuple[Path, ...], as_json: bool) -> None:
    """Transcribe FILE, or two spoken samples, with a server started for it and stopped after."""
    get_models()
    try:
        with _running_server() as client:
            for file in files or sorted(SAMPLES.glob("*.ogg")):
                _show(client, file, as_json=as_json)
    except (ServerProcessError, ClientError) as error:
        raise click.ClickException(str(error)) from error


@contextlib.contextmanager
def _running_server() -> Iterator[Client]:
    """A server of our own, and a client of it."""
    click.echo("Starting the server…", err=True)
    started = time.monotonic()
    with own_server("demo", on_line=_warn_of_sandbox) as (server, client, _):
        took = time.monotonic() - started
        click.echo(f"Ready on port {server.port} after {took:.1f} s.", err=True)
        try:
            yield client
        except ClientError as error:
            if error.refused:
                raise
            raise ClientError(f"{error}\n{server.last_lines()}") from error


def _warn_of_sandbox(line: str) -> None:
    """Pass on what the server says of its sandbox, should the kernel lack a layer."""
    if '"sandbox_incomplete"' in line:
        layers = ", ".join(json.loads(line)["missing"])
        click.echo(f"Warning: this kernel lacks layers of the media sandbox: {layers}.", err=True)


def _show(client: Client, file: Path, *, as_json: bool) -> None:
    """Print one file's text, subtitles and speed; or the answer as a line of JSON."""
    if not as_json:
        click.echo(f"\n{file.name}")
    started = time.monotonic()
    answer = client.transcribe(file, "verbose_json").json()
    wall = time.monotonic() - started
    duration = float(answer["duration"])
    if as_json:
        row = {"file": str(file), "seconds": round(wall, 3), "answer": answer}
        click.echo(json.dumps(row, ensure_ascii=False))
        return
    click.echo(f"\n{answer['text'].strip()}\n")
    if duration <= LONGEST_TWICE:
        click.echo(client.transcribe(file, "srt").text.rstrip())
    click.echo(
        f"\n{duration:.1f} s of {answer['language']} in {wall:.1f} s: "
        f"real-time factor {wall / max(duration, 0.001):.2f}"
    )
