"""The accuracy command's story: read the clips, ask every system, write the report.

Knows: the order of the steps, and which systems can run here.
Must not know: the command line, how one system is asked, or how a score is made.
"""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec

from ops.accuracy import normalise
from ops.accuracy.manifest import read_manifest, select
from ops.accuracy.markdown import render
from ops.accuracy.options import AccuracyError, Options
from ops.accuracy.peer import PeerMissing, PeerOptions
from ops.accuracy.peers import PEERS
from ops.accuracy.picture import draw
from ops.accuracy.remote import Server, ServerOptions
from ops.accuracy.session import Session, conditions
from ops.accuracy.transcripts import Cached, System
from ops.own_server import own_server
from ops.process import ServerProcessError


def run(options: Options, progress: Callable[[str], None]) -> str:
    """Write report.md, results.json and the pictures; the report's text is handed back.

    Raises:
        AccuracyError: no clip, no system, a bad manifest, missing weights or packages.
    """
    normalise.words("", "en")  # a missing package shows now, not after the last clip
    listed = read_manifest(options.manifest)
    clips = select(listed, options.clips, options.limit)
    if not clips:
        raise AccuracyError("no clip passes the filters")
    not_run = ["The server: not asked for."] if options.no_server else []
    if left_out := len(listed) - len(clips):
        not_run.append(f"{left_out} clips of {len(listed)}: not chosen.")
    with ExitStack() as stack:
        servers = _servers(options, stack)
        systems: list[System] = [*servers, *_peers(options, not_run)]
        if not systems:
            raise AccuracyError("nothing to score: " + " ".join(not_run))
        session = Session(clips, systems, progress)
        for server in servers:
            stack.callback(server.close)
        session.run()
        if options.at_once:
            session.run_at_once(servers, options.at_once)
    if not (drawable := find_spec("matplotlib") is not None):
        not_run.append("The picture: matplotlib is not installed.")
    report = session.report(
        conditions(options.manifest, clips),
        not_run,
        words=options.words,
        detect_language=options.detect_language,
    )
    text = render(report)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "report.md").write_text(text, encoding="utf-8")
    (options.out / "results.json").write_bytes(session.results_json(report))
    if drawable:
        draw(report, options.out)
    return text


def _servers(options: Options, stack: ExitStack) -> list[Server]:
    """The server that was named, or one of our own for as long as `stack` is open."""
    if options.no_server:
        return []
    url, api_key = options.url, options.api_key
    if url is None:
        settings = {"SUSSURRO_BEAM_SIZE": str(options.beam)}
        python = options.server_python or sys.executable
        try:
            own, _, api_key = stack.enter_context(own_server("accuracy", settings, python=python))
        except ServerProcessError as error:
            raise AccuracyError(str(error)) from error
        url = own.url
    return [
        Server(
            url,
            api_key,
            ServerOptions(options.server_model, mode, options.words, options.detect_language),
        )
        for mode in (options.mode or (None,))
    ]


def _peers(options: Options, not_run: list[str]) -> list[System]:
    """The peers that can run; why the others cannot is added to `not_run`."""
    cache = options.cache.expanduser()
    peer_options = PeerOptions(
        model_dir=options.model.expanduser(),
        cache_dir=cache,
        beam_size=options.beam,
        word_timestamps=options.words,
        detect_language=options.detect_language,
        threads=options.threads,
    )
    found: list[System] = []
    for name, peer in PEERS.items():
        if name not in options.peer:
            not_run.append(f"{name}: not asked for.")
            continue
        try:
            found.append(Cached(peer(peer_options), cache / "peers"))
        except PeerMissing as error:
            not_run.append(f"{name}: {error}.")
        except FileNotFoundError as error:
            raise AccuracyError(f"weights: there is no {error.filename}") from error
    return found
