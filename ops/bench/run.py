"""The bench command's story: clips, a server, loads, peers, a report.

Knows: the order of the steps.
Must not know: the command line, how a step is done.
"""

import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from pydantic import TypeAdapter

from ops.accuracy.manifest import Clip
from ops.bench import beside
from ops.bench.clips import choose_short, make_long, read_clips
from ops.bench.figures import Beside, Report
from ops.bench.options import BenchError, Options
from ops.bench.peers import started
from ops.bench.picture import draw
from ops.bench.scenarios import Scenarios
from ops.bench.table import render
from ops.bench.target import Target, reach
from ops.client import ClientError
from ops.settings import read_settings


def run(options: Options, progress: Callable[[str], None]) -> str:
    """Measure; write bench.json and bench.svg where a folder is given; the table's text.

    Raises:
        BenchError: no clips, no server, no weights for the peers.
    """
    clips = read_clips(options.clips)
    short = choose_short(clips, options.short)
    not_run: list[str] = []
    with tempfile.TemporaryDirectory() as folder, reach(options) as target:
        long = make_long(clips, options.long_seconds, Path(folder))
        scenarios = Scenarios(target, short, long, options, progress)
        scenarios.run()
        systems: Sequence[Beside] = ()
        at_once: tuple[float | None, float | None] = (None, None)
        if options.peers:
            systems = _beside(options, target, short, long, not_run=not_run, progress=progress)
            at_once = beside.at_once(target, short, clients=len(short), rounds=options.rounds)
    report = Report(
        conditions=_conditions(options, short, long),
        loads=tuple(scenarios.loads),
        memory_mb=scenarios.memory_mb,
        slope_mb_per_minute=scenarios.slope,
        least_mb_by_minute=tuple(scenarios.least_by_minute),
        systems=tuple(systems),
        at_once_s=at_once[0],
        at_once_p95=at_once[1],
        not_run=tuple(not_run),
    )
    if options.out:
        report = _write(report, options.out)
    if options.as_json:
        return TypeAdapter(Report).dump_json(report).decode()
    return render(report)


def _beside(  # noqa: PLR0913 - the run's parts
    options: Options,
    target: Target,
    short: Sequence[Clip],
    long: Clip,
    *,
    not_run: list[str],
    progress: Callable[[str], None],
) -> list[Beside]:
    model = options.model or read_settings().weights_dir / "base"
    model = model.expanduser().resolve()
    if not (model / "model.bin").is_file():
        raise BenchError("peers need the weights: `ops weights get base`, or --model")
    try:
        with started(options, model, not_run) as peers:
            return beside.compare(
                target,
                peers,
                short,
                long,
                rounds=options.rounds,
                slow_rounds=options.slow_rounds,
                progress=progress,
            )
    except ClientError as error:
        raise BenchError(str(error)) from error


def _conditions(options: Options, short: Sequence[Clip], long: Clip) -> dict[str, str]:
    """What a reader must know to run this again."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "load at the end": f"{os.getloadavg()[0]:.1f}",
        "beam": str(options.beam),
        "rounds": f"{options.rounds}, slow peers at most {options.slow_rounds}",
        "short clips": f"{len(short)}, {sum(clip.seconds for clip in short):.0f} s",
        "long file": f"{long.seconds:.0f} s",
    }


def _write(report: Report, folder: Path) -> Report:
    """The files; a picture that cannot be drawn is told in the report."""
    folder.mkdir(parents=True, exist_ok=True)
    if find_spec("matplotlib") is None:
        missing = "the picture: matplotlib is not installed"
        report = Report(**{**vars(report), "not_run": (*report.not_run, missing)})
    else:
        draw(report, folder / "bench.svg")
    (folder / "bench.json").write_bytes(TypeAdapter(Report).dump_json(report, indent=1))
    return report
