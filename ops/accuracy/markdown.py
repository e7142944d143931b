"""The report as Markdown, for the terminal and for a file.

Knows: how the summary is laid out, and what must be said beside the figures.
Must not know: how figures come about.
"""

from collections.abc import Iterable, Mapping, Sequence

from ops.accuracy.metrics import MIN_CLIPS, RESAMPLES, Interval
from ops.accuracy.report import Report
from ops.accuracy.summary import Score
from ops.accuracy.timing import MIN_RUN, StartDifferences

MAX_TEXT = 400
"""Characters of a long text that are shown; the JSON holds all of it."""


def render(report: Report) -> str:
    """The whole report as Markdown whose tables line up in a terminal too."""
    sections = [
        f"# Accuracy\n\n{report.clips} clips, {report.audio_s:.0f} s of audio.",
        _section("Not run", "\n".join(f"- {reason}" for reason in report.not_run) or "Nothing."),
        _section("Error rates", _rates(report)),
        _section("Differences", _differences(report)),
        _section("False words where nobody speaks", _false_text(report)),
        _section("Speed", _speed(report)),
        _section("Word starts against openai-whisper", _word_starts(report.word_starts)),
        _section("Word starts against known times", _word_starts(report.known_word_starts)),
        _section("Language detection", _detection(report)),
        _section(f"Lost or added runs of {MIN_RUN} words and more, long clips", _runs(report)),
        _section("Clips that differ most", _differing(report)),
        _section("Failed requests", _failures(report)),
        _section("Conditions", _conditions(report)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]

    def row(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join(
        ("-" * (width + 2) if column == 0 else "-" * (width + 1) + ":")
        for column, width in enumerate(widths)
    )
    return "\n".join([row(header), rule + "|", *map(row, lines[1:])])


def _interval(interval: Interval | None, sign: str = "") -> str:
    if interval is None:
        return ""
    return f" [{interval.low * 100:{sign}.1f}, {interval.high * 100:{sign}.1f}]"


def _score(score: Score) -> str:
    return f"{score.rate * 100:.1f}{_interval(score.interval)} {score.errors}/{score.units}"


def _rates(report: Report) -> str:
    if not report.groups:
        return "No clip holds speech."
    table = _table(
        ["%", "clips", *report.systems],
        [
            [
                f"{group.measure} {group.title}",
                str(group.clips),
                *(_score(group.scores[system]) for system in report.systems),
            ]
            for group in report.groups
        ],
    )
    return (
        f"{table}\n\nEach cell: rate, 95 % interval ({RESAMPLES} resamples of clips; none below "
        f"{MIN_CLIPS} clips), errors/units. Texts pass openai-whisper's normalisers: the English "
        "one for en, the basic one for others. Japanese, Korean and Chinese have no WER. Only "
        "the English normaliser levels «three» and «3»: elsewhere numerals count as errors. A "
        "failed request counts as every word lost."
    )


def _differences(report: Report) -> str:
    systems = list(report.systems)
    if len(systems) < 2 or not report.groups:  # one system has nobody to differ from
        return ""
    return (
        _table(
            [f"points, {systems[0]} less", *systems[1:]],
            [
                [
                    f"{group.measure} {group.title}",
                    *(
                        f"{difference * 100:+.1f}{_interval(interval, '+')}"
                        for difference, interval in group.differences.values()
                    ),
                ]
                for group in report.groups
            ],
        )
        + "\n\nPaired intervals: an interval that holds 0 shows no difference."
    )


def _false_text(report: Report) -> str:
    lines = [
        f"- `{clip}`, {system}: {_short(text)}"
        for system, said in report.false_text.items()
        for clip, text in said.texts.items()
    ]
    table = _table(
        ["system", "words", "clips with text"],
        [[system, str(f.words), str(f.clips)] for system, f in report.false_text.items()],
    )
    return "\n\n".join([table, *(["\n".join(lines)] if lines else [])])


def _short(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= MAX_TEXT else f"{one_line[:MAX_TEXT]} […]"


def _speed(report: Report) -> str:
    rows = [
        [
            system,
            f"{speed.rtf:.3f}",
            "" if speed.long_rtf is None else f"{speed.long_rtf:.3f}",
            f"{speed.wall_s:.1f}",
            "unknown" if speed.cpu_s is None else f"{speed.cpu_s:.1f}",
        ]
        for system, speed in report.speed.items()
        if speed
    ]
    table = _table(["one by one", "RTF", "RTF > 30 s", "wall s", "CPU s"], rows)
    lines = [
        f"- {system}, {run.requests} at once: RTF {run.wall_s / run.audio_s:.3f}, "
        f"{run.wall_s:.1f} s wall, {run.changed} texts differ from one by one, {run.failed} failed"
        for system, run in report.at_once.items()
    ]
    note = "A peer's times are those of the run that was remembered: load may have differed."
    return "\n\n".join([table, note, *(["\n".join(lines)] if lines else [])])


def _word_starts(by_system: Mapping[str, StartDifferences]) -> str:
    if not by_system:
        return ""
    return _table(
        ["system", "matched", "median abs ms", "p95 abs ms", "median ms"],
        [
            [system, f"{starts.matched}/{starts.words}"]
            + [
                "" if value is None else f"{value * 1000:.0f}"
                for value in (starts.median_abs, starts.p95_abs, starts.median)
            ]
            for system, starts in by_system.items()
        ],
    )


def _detection(report: Report) -> str:
    return "\n".join(
        f"- {system}: {right} of {clips} clips"
        for system, (right, clips) in report.detection.items()
    )


def _runs(report: Report) -> str:
    lines = []
    for system, clips in report.long_runs.items():
        for clip, runs in clips.items():
            lines.append(f"- {system}, `{clip}`: {len(runs) or 'none'}")
            for run in runs:
                time = "at an unknown time" if run.time is None else f"near {run.time:.1f} s"
                lines.append(f"  - {run.words} {run.tag} {time}: {_short(run.text)}")
    return "\n".join(lines)


def _differing(report: Report) -> str:
    return "\n".join(
        f"- `{difference.clip}`: "
        + ", ".join(f"{system} {count}" for system, count in difference.errors.items())
        + "".join(f"\n  - {who}: {_short(text)}" for who, text in difference.texts.items())
        for difference in report.differing
    )


def _failures(report: Report) -> str:
    return "\n".join(
        f"- {system}, `{clip}`: {error}"
        for system, clips in report.failures.items()
        for clip, error in clips.items()
    )


def _conditions(report: Report) -> str:
    lines = [f"- {name}: {value}" for name, value in report.conditions.items()]
    for system, options in report.systems.items():
        listed = ", ".join(f"{name} {value}" for name, value in options.items())
        lines.append(f"- {system}: {listed}")
    return "\n".join(lines)
