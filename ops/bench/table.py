"""The report as text for a terminal.

Knows: columns.
Must not know: how figures come about.
"""

from collections.abc import Sequence

from ops.bench.figures import Beside, Load, Report

WORSE = 1.1
"""A peer whose word error rate is more than a tenth above ours does not count as faster."""


def render(report: Report) -> str:
    """Loads, memory and, with peers, the ratios."""
    parts = [
        _columns(
            [
                "load",
                "requests",
                "failed",
                "p50 s",
                "p95 s",
                "p99 s",
                "audio s/s",
                "batch",
                "rest",
                "loop ms",
                "bare ms",
            ],
            [_load(load) for load in report.loads],
        )
    ]
    if report.fairness is not None:
        parts.append(f"p50 beside a long file / p50 alone: {report.fairness:.2f}")
    if report.memory_mb:
        sizes = ", ".join(f"{name} {size:.0f}" for name, size in report.memory_mb.items())
        parts.append(f"memory in MiB after each part: {sizes}")
    if report.slope_mb_per_minute is not None:
        parts.append(f"memory slope: {report.slope_mb_per_minute:+.2f} MiB a minute")
    if report.systems:
        parts += _beside(report)
    parts += [f"left out: {reason}" for reason in report.not_run]
    parts += ["; ".join(f"{name}: {value}" for name, value in report.conditions.items())]
    return "\n\n".join(parts)


def _load(load: Load) -> list[str]:
    return [
        load.name,
        str(load.requests),
        str(load.failed),
        *(f"{value:.2f}" for value in (load.p50, load.p95, load.p99)),
        f"{load.throughput:.1f}",
        "" if load.batch is None else f"{load.batch:.2f}",
        "" if load.outside_engine is None else f"{load.outside_engine:.0%}",
        "" if load.probe_max is None else f"{load.probe_max * 1000:.0f}",
        "" if load.bare_max is None else f"{load.bare_max * 1000:.0f}",
    ]


def _beside(report: Report) -> list[str]:
    ours, *_ = report.systems
    rows = [_system(system, ours) for system in report.systems]
    heads = ["system", "short s", "ratio", "p50 s", "p95 s", "WER", "long s", "ratio", "WER", "MiB"]
    parts = [_columns(heads, rows), "ratio: how many times our time; * its WER is over 10 % worse"]
    if report.at_once_s is not None and report.at_once_p95 is not None:
        ratios = ", ".join(
            f"{system.name} {system.short_s / report.at_once_s:.2f} "
            f"({(system.in_line_p95 or 0.0) / report.at_once_p95:.2f})"
            for system in report.systems
        )
        parts.append(
            f"all short clips sent at once: {report.at_once_s:.2f} s, p95 "
            f"{report.at_once_p95:.2f} s; ratios of those who answer one by one (p95): {ratios}"
        )
    return parts


def _system(system: Beside, ours: Beside) -> list[str]:
    long_ratio = system.long_s / ours.long_s if system.long_s and ours.long_s else None
    return [
        system.name,
        f"{system.short_s:.2f}",
        f"{system.short_s / ours.short_s:.2f}",
        f"{system.short_p50:.2f}",
        f"{system.short_p95:.2f}",
        _rate(system.short_wer, ours.short_wer),
        "" if system.long_s is None else f"{system.long_s:.1f}",
        "" if long_ratio is None else f"{long_ratio:.2f}",
        _rate(system.long_wer, ours.long_wer),
        "" if system.memory_mb is None else f"{system.memory_mb:.0f}",
    ]


def _rate(rate: float | None, ours: float | None) -> str:
    if rate is None or ours is None:
        return ""
    return f"{rate:.1%}" + ("*" if rate > ours * WORSE else "")


def _columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, numbers to the right."""
    table = [heads, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )
