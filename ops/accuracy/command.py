"""`ops accuracy`: score a running server and its peers on the same clips.

Knows: the command line, and the order of the steps.
Must not know: how one system is asked, or how a score is made.
"""

from pathlib import Path

import click

from ops.accuracy import normalise
from ops.accuracy.manifest import ManifestError, read_manifest, select
from ops.accuracy.markdown import render
from ops.accuracy.peer import PeerMissing, PeerOptions
from ops.accuracy.peers import PEERS
from ops.accuracy.picture import draw
from ops.accuracy.remote import Server, ServerOptions
from ops.accuracy.session import Session, conditions
from ops.accuracy.transcripts import Cached, System

INSTALL = (
    "install the extra: pip install -r requirements/torch.txt, then "
    "pip install --no-deps --require-hashes -r requirements/accuracy.txt"
)


@click.command()
@click.option("--manifest", required=True, type=click.Path(path_type=Path), help="Table of clips.")
@click.option(
    "--clips",
    "filters",
    multiple=True,
    metavar="FIELD=A,B",
    help="Keep clips by language, kind, split or name (a part); FIELD!= drops. Repeatable.",
)
@click.option("--limit", type=click.IntRange(1), help="At most so many clips.")
@click.option("--url", help="A running server, such as http://127.0.0.1:9005.")
@click.option("--api-key", default="", envvar="ACCURACY_API_KEY", help="The server's key.")
@click.option("--server-model", default="whisper-1", show_default=True, help="The field `model`.")
@click.option("--mode", "modes", multiple=True, help="Sent as field `mode`; one column each.")
@click.option("--at-once", type=click.IntRange(2), help="Send the clips again, so many at once.")
@click.option(
    "--peer",
    "peers",
    multiple=True,
    type=click.Choice(list(PEERS)),
    default=list(PEERS),
    show_default="all",
    help="Compare with this implementation. Repeatable.",
)
@click.option("--no-peers", is_flag=True, help="Score the server alone.")
@click.option(
    "--model",
    "model_dir",
    type=click.Path(path_type=Path),
    default=Path("~/.cache/sussurro/weights/base"),
    show_default=True,
    help="CTranslate2 float16 weights for the peers.",
)
@click.option("--beam", type=click.IntRange(1, 10), default=5, show_default=True, help="Of peers.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of peers.")
@click.option("--words", is_flag=True, help="Ask for word times too; peers may decode otherwise.")
@click.option("--detect-language", is_flag=True, help="Tell nobody the language.")
@click.option(
    "--cache",
    "cache_dir",
    type=click.Path(path_type=Path),
    default=Path("~/.cache/sussurro/accuracy"),
    show_default=True,
    help="Remembers what peers answered.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
def accuracy(  # noqa: PLR0913  one parameter an option
    *,
    manifest: Path,
    filters: tuple[str, ...],
    limit: int | None,
    url: str | None,
    api_key: str,
    server_model: str,
    modes: tuple[str, ...],
    at_once: int | None,
    peers: tuple[str, ...],
    no_peers: bool,
    model_dir: Path,
    beam: int,
    threads: int,
    words: bool,
    detect_language: bool,
    cache_dir: Path,
    out: Path,
) -> None:
    """Score a server, and the established implementations on the same weights and clips.

    Writes report.md, results.json and a picture to --out, and prints the report.
    """
    try:
        listed = read_manifest(manifest)
        clips = select(listed, filters, limit)
        normalise.words("", "en")
    except ManifestError as error:
        raise click.UsageError(str(error)) from error
    except normalise.NormaliserMissing as error:
        raise click.ClickException(f"{error}; {INSTALL}") from error
    if not clips:
        raise click.UsageError("no clip passes --clips")
    servers = [
        Server(url, api_key, ServerOptions(server_model, mode, words, detect_language))
        for mode in (modes or (None,))
        if url
    ]
    not_run = [] if url else ["The server: no --url."]
    if len(clips) < len(listed):
        not_run.append(f"{len(listed) - len(clips)} clips of {len(listed)}: not chosen.")
    cache_dir = cache_dir.expanduser()
    options = PeerOptions(model_dir.expanduser(), cache_dir, beam, words, detect_language, threads)
    others = [] if no_peers else _peers(peers, options, not_run)
    not_run += [f"{name}: not asked for." for name in PEERS if no_peers or name not in peers]
    systems: list[System] = [*servers, *others]
    if not systems:
        raise click.UsageError("nothing to score: " + " ".join(not_run))
    session = Session(clips, systems, lambda line: click.echo(line, err=True))
    session.run()
    if at_once:
        session.run_at_once(servers, at_once)
    report = session.report(
        conditions(manifest, clips) | {"peers' threads": str(threads)},
        not_run,
        words=words,
        detect_language=detect_language,
    )
    out.mkdir(parents=True, exist_ok=True)
    text = render(report)
    (out / "report.md").write_text(text, encoding="utf-8")
    (out / "results.json").write_bytes(session.results_json(report))
    draw(report, out)
    click.echo(text)


def _peers(names: tuple[str, ...], options: PeerOptions, not_run: list[str]) -> list[System]:
    """The peers that can run; why the others cannot is added to `not_run`."""
    found: list[System] = []
    for name in dict.fromkeys(names):
        try:
            found.append(Cached(PEERS[name](options), options.cache_dir / "peers"))
        except PeerMissing as error:
            not_run.append(f"{name}: {error}.")
        except FileNotFoundError as error:
            raise click.UsageError(f"--model: {error.filename} is missing") from error
    return found
