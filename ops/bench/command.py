"""`ops bench`: the command line.

Knows: flags and their help.
Must not know: loads, servers, peers. Imports nothing heavy: every install has this file.
"""

from pathlib import Path
from typing import Any

import click

from ops.bench.options import PEERS, BenchError, Options
from ops.options import AS_JSON
from ops.server_at import KEY_FILE, read_key

PATH = click.Path(path_type=Path)


@click.command(context_settings={"show_default": True})
@click.option("--url", help="A running server, such as http://127.0.0.1:9005; else one is started.")
@KEY_FILE
@click.option("--server-python", help="The Python that runs a server started here.")
@click.option("--clips", type=PATH, default=Options.clips, help="Folder of audio, with manifest.")
@click.option("--short", type=click.IntRange(1, 50), default=Options.short, help="Short clips.")
@click.option("--rounds", type=click.IntRange(1, 100), default=Options.rounds, help="Repetitions.")
@click.option(
    "--slow-rounds",
    type=click.IntRange(1, 100),
    default=Options.slow_rounds,
    help="Of these at most with openai-whisper and whisper.cpp.",
)
@click.option("--at-once", type=click.IntRange(2, 64), default=Options.at_once, help="Clients.")
@click.option("--rate", type=float, help="Requests a second of the open loop; else 0.6 x capacity.")
@click.option("--long-seconds", type=float, default=Options.long_seconds, help="The long file.")
@click.option("--seconds", type=float, default=Options.seconds, help="Longest time of a part.")
@click.option("--soak-minutes", type=float, default=Options.soak_minutes, help="Mixed load, last.")
@click.option("--beam", type=click.IntRange(1, 10), default=Options.beam, help="Beams of all.")
@click.option("--peers", is_flag=True, help="Run the established implementations in between.")
@click.option(
    "--peer",
    multiple=True,
    type=click.Choice(PEERS),
    default=PEERS,
    show_default="all",
    help="Who.",
)
@click.option("--threads", type=click.IntRange(1), default=Options.threads, help="Peers' threads.")
@click.option("--model", type=PATH, help="CTranslate2 weights; else `base` where weights are kept.")
@click.option("--cache", type=PATH, default=Options.cache, help="Keeps weights made for peers.")
@click.option("--out", type=PATH, help="Folder for bench.json and bench.svg.")
@AS_JSON
def bench(*, key_file: Path | None, **flags: Any) -> None:  # noqa: ANN401
    """Measure a server: latency, throughput, fairness, memory; with --peers, against others."""
    from ops.bench.run import run  # noqa: PLC0415  numpy and the server's parts are heavy

    try:
        key = read_key(key_file) if flags["url"] else ""
        text = run(Options(api_key=key, **flags), lambda line: click.echo(line, err=True))
    except BenchError as error:
        raise click.ClickException(str(error)) from error
    click.echo(text)
