"""`ops transcribe`: recordings to a running server, results into files.

Knows: flags, exit codes, how progress and failures are shown.
Must not know: HTTP, threads, how files are named or written.

Exit codes: 0 every transcript is there; 1 some are not, and they are listed; 2 wrong usage;
130 interrupted: the same command goes on where it was.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from ops.client import Client
from ops.server_at import KEY_FILE, URL, read_key
from ops.transcribe import results
from ops.transcribe.plan import Job, PlanError, plan
from ops.transcribe.run import Outcome, Run, Work
from server.formats import RESPONSE_FORMATS, ResponseFormat

INTERRUPTED = 130
CHOSEN = ("model", "language", "prompt", "hotwords", "temperature", "mode")
"""Options that are fields of the API."""


@click.command()
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="FILE|DIR...",
    type=click.Path(exists=True, path_type=Path),
)
@URL
@KEY_FILE
@click.option(
    "-f",
    "--output-format",
    "formats",
    multiple=True,
    default=("text",),
    type=click.Choice(RESPONSE_FORMATS),
    show_default=True,
    help="May be repeated: all of them come from one transcription.",
)
@click.option(
    "-o",
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for results, with the folders of DIR in it  [default: beside each FILE]",
)
@click.option("--model", help="A name of /v1/models  [default: the server's first]")
@click.option("--language", help="Such as pt  [default: what is heard]")
@click.option(
    "--task",
    type=click.Choice(("transcribe", "translate")),
    default="transcribe",
    show_default=True,
    help="Translations are English.",
)
@click.option("--prompt", help="Names and spellings to expect.")
@click.option("--hotwords", help="Words to expect throughout.")
@click.option("--temperature", help="0 to 1.")
@click.option("--mode", type=click.Choice(("fast", "accurate")), help="[default: the server's]")
@click.option("--word-timestamps", is_flag=True, help="Words with times in verbose_json.")
@click.option("--field", "more", multiple=True, metavar="NAME=VALUE", help="Another API field.")
@click.option(
    "--parallel",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Recordings at once; fewer while the server is full.",
)
@click.option(
    "--max-retries",
    type=click.IntRange(0, 100),
    default=8,
    show_default=True,
    help="Further tries of one recording.",
)
@click.option("--overwrite", is_flag=True, help="Also what is done already.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each recording.")
def transcribe(  # noqa: PLR0913 - one a flag
    *,
    paths: tuple[Path, ...],
    url: str,
    key_file: Path | None,
    formats: tuple[ResponseFormat, ...],
    output_dir: Path | None,
    task: str,
    word_timestamps: bool,
    more: tuple[str, ...],
    parallel: int,
    max_retries: int,
    overwrite: bool,
    as_json: bool,
    **chosen: str | None,
) -> None:
    """Transcribe recordings, and all that are in folders, with a running server.

    Each transcript is written beside its recording when it is whole. A recording whose
    transcripts are there is not sent again: a run that was interrupted is simply started again.
    """
    fields = {name: value for name in CHOSEN if (value := chosen[name])} | _fields(more)
    if {"json", "verbose_json"} <= set(formats):
        raise click.BadParameter("verbose_json has all of json", param_hint="--output-format")
    if word_timestamps and "verbose_json" not in formats:
        raise click.BadParameter("only verbose_json has words", param_hint="--word-timestamps")
    try:
        jobs = plan(paths, tuple(dict.fromkeys(formats)), output_dir)
    except PlanError as error:
        raise click.UsageError(str(error)) from error
    left = jobs if overwrite else [job for each in jobs if (job := each.left()).outputs]
    work = _work(Client(url, read_key(key_file)), task, fields, words=word_timestamps)
    run = Run(work, parallel=parallel, max_retries=max_retries)
    report = _Report(as_json=as_json)
    for job in jobs if as_json else ():
        if not overwrite and not job.left().outputs:
            report.line(job, "there")
    try:
        for outcome in _with_bar(run.outcomes(left), left):
            report.add(outcome)
    except KeyboardInterrupt:
        click.echo("\nInterrupted; the same command goes on here.", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(report.end(there=len(jobs) - len(left)))


def _fields(more: Sequence[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in more]
    if any(not name or not sign for name, sign, _ in pairs):
        raise click.BadParameter("write NAME=VALUE", param_hint="--field")
    return {name: value for name, _, value in pairs}


def _work(client: Client, task: str, fields: dict[str, str], *, words: bool) -> Work:
    """One recording from its file to its results."""

    def work(job: Job) -> None:
        wanted = tuple(job.outputs)
        asked = results.asked(wanted, words=words)
        answer = client.transcribe(job.source, task=task, **{**fields, **asked})
        for name, data in results.bodies(answer.text, wanted).items():
            results.write(job.outputs[name], data)

    return work


def _with_bar(outcomes: Iterable[Outcome], jobs: Sequence[Job]) -> Iterator[Outcome]:
    """The same, with a bar for a person who watches: bytes of recordings that are done."""
    if not sys.stderr.isatty() or not jobs:
        yield from outcomes
        return
    total = sum(job.source.stat().st_size for job in jobs)
    done = 0
    bar: Any  # click's own type has no name in its interface
    with click.progressbar(
        length=total, file=sys.stderr, item_show_func=lambda _: f"{done} of {len(jobs)}"
    ) as bar:
        bar.update(0)
        for outcome in outcomes:
            done += 1
            bar.update(outcome.job.source.stat().st_size)
            yield outcome


class _Report:
    """Results on standard output, all else on standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._done = 0
        self._failed: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        """Tell one at once, or at the end if it failed and a person reads."""
        if outcome.error is None:
            self._done += 1
        else:
            self._failed.append(outcome)
        if self._as_json:
            state = "failed" if outcome.error else "done"
            self.line(outcome.job, state, seconds=round(outcome.seconds, 3), error=outcome.error)
        elif outcome.error is None and not sys.stdout.isatty():
            click.echo("\n".join(str(path) for path in outcome.job.outputs.values()))

    def line(self, job: Job, state: str, **more: Any) -> None:  # noqa: ANN401 - JSON
        """A recording as a line of JSON."""
        outputs = {name: str(path) for name, path in job.outputs.items()}
        row = {"file": str(job.source), "state": state, "outputs": outputs, **more}
        click.echo(json.dumps(row, ensure_ascii=False))

    def end(self, there: int) -> int:
        """Sum up; the exit code."""
        summary = f"{self._done} done, {there} there already, {len(self._failed)} failed"
        click.echo(f"{summary}{':' if self._failed else '.'}", err=True)
        for outcome in self._failed:
            click.echo(f"  {outcome.job.source}: {outcome.error}", err=True)
        return 1 if self._failed else 0
