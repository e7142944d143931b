"""`ops accuracy`: the command line.

Knows: flags, their help, and how to install what the command needs.
Must not know: clips, systems, scores. Imports nothing heavy: the default install has this file.
"""

from pathlib import Path
from typing import Any

import click

from ops.accuracy.options import PEER_NAMES, AccuracyError, Options
from ops.options import AS_JSON
from ops.server_at import KEY_FILE, read_key

INSTALL = "pip install --no-deps --require-hashes -r requirements/accuracy.txt installs the extra"
PATH = click.Path(path_type=Path)


@click.command(context_settings={"show_default": True})
@click.option(
    "--manifest",
    type=PATH,
    default=Options.manifest,
    show_default="../shared/audio/manifest.tsv beside the checkout",
    help="Table of clips.",
)
@click.option(
    "--clips",
    multiple=True,
    metavar="FIELD=A,B",
    help="Keep clips by language, kind, split or name (a part); FIELD!= drops. Repeatable.",
)
@click.option("--limit", type=click.IntRange(1), help="At most so many clips.")
@click.option("--url", help="A running server; without one, one is started for the run.")
@click.option("--no-server", is_flag=True, help="Score the peers alone.")
@click.option("--server-python", help="Whose environment runs a server of our own.")
@KEY_FILE
@click.option("--server-model", default=Options.server_model, help="The field `model`.")
@click.option("--mode", multiple=True, help="Sent as field `mode`; one column each.")
@click.option("--at-once", type=click.IntRange(2), help="Send the clips again, so many at once.")
@click.option(
    "--peer",
    multiple=True,
    type=click.Choice(PEER_NAMES),
    default=PEER_NAMES,
    show_default="all",
    help="Compare with this implementation. Repeatable.",
)
@click.option("--no-peers", is_flag=True, help="Score the server alone.")
@click.option("--model", type=PATH, default=Options.model, help="CTranslate2 weights for peers.")
@click.option("--beam", type=click.IntRange(1, 10), default=Options.beam, help="Peers' beams.")
@click.option("--threads", type=click.IntRange(1), default=Options.threads, help="Peers' threads.")
@click.option(
    "--words",
    is_flag=True,
    help="Ask for word times too: against openai-whisper's, and CLIP.words.tsv beside a clip. "
    "Peers may decode otherwise.",
)
@click.option("--detect-language", is_flag=True, help="Tell nobody the language.")
@click.option("--cache", type=PATH, default=Options.cache, help="Remembers peers' answers.")
@click.option("--out", type=PATH, default=Options.out, help="Folder to write to.")
@AS_JSON
def accuracy(
    *,
    no_peers: bool,
    key_file: Path | None,
    as_json: bool,
    **flags: Any,  # noqa: ANN401
) -> None:
    """Score a server, and the established implementations on the same weights and clips.

    Writes report.md, results.json and a picture to --out, and prints the report: error rates
    by word and by character with 95 % intervals, by language and kind; words said where nobody
    speaks; real-time factors; where words start; lost and doubled runs; the clips that differ
    most.
    """
    try:
        from ops.accuracy.run import run  # noqa: PLC0415  the extra may be missing
    except ImportError as error:
        raise click.ClickException(f"{error.name} is not installed; {INSTALL}") from error
    if no_peers:
        flags["peer"] = ()
    try:
        key = read_key(key_file) if flags["url"] else ""
        text = run(Options(api_key=key, **flags), lambda line: click.echo(line, err=True))
    except AccuracyError as error:
        raise click.ClickException(str(error)) from error
    click.echo((flags["out"] / "results.json").read_text(encoding="utf-8") if as_json else text)
