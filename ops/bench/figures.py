"""What is reported: loads in numbers, systems beside one another.

Knows: percentiles, ratios, the report's shape.
Must not know: how samples come about, how a report looks.
"""

import statistics
from collections.abc import Sequence

import numpy as np
from pydantic.dataclasses import dataclass

from ops.bench.load import Sample


@dataclass(frozen=True)
class Load:
    """One part of a run; `latency` in seconds, `throughput` in audio seconds a second.

    From the server's own log, None without it: `batch`, windows that shared a batch on average;
    `outside_engine`, the part of a request's time that was neither queue nor computing: HTTP, key,
    upload, decoding, features, text, formats. It can be told of requests with one window.
    `probe_max` is the longest that a probe of the event loop waited meanwhile, in seconds, and
    `bare_max` of one that does nothing else: what the machine itself is late.
    """

    name: str
    requests: int
    failed: int
    p50: float
    p95: float
    p99: float
    throughput: float
    batch: float | None = None
    outside_engine: float | None = None
    probe_max: float | None = None
    bare_max: float | None = None


@dataclass(frozen=True)
class Beside:
    """One system on the same clips, in the same run; seconds are medians of the rounds.

    `short_s` is all short clips one after the other, `wer` fractions; `memory_mb` is the peak.
    `in_line_p95` is what their answers would take if all came at once and waited in line.
    """

    name: str
    short_s: float
    short_p50: float
    short_p95: float
    long_s: float | None
    short_wer: float | None
    long_wer: float | None
    memory_mb: float | None
    in_line_p95: float | None = None


@dataclass(frozen=True)
class Report:
    """A whole run."""

    conditions: dict[str, str]
    loads: tuple[Load, ...]
    memory_mb: dict[str, float]
    slope_mb_per_minute: float | None
    least_mb_by_minute: tuple[float, ...]
    systems: tuple[Beside, ...]
    at_once_s: float | None
    at_once_p95: float | None
    not_run: tuple[str, ...]

    @property
    def fairness(self) -> float | None:
        """Median latency of short clips beside a long file, by that on an idle server."""
        by_name = {load.name: load for load in self.loads}
        alone, beside = by_name.get("short, alone"), by_name.get("short, beside a long file")
        return beside.p50 / alone.p50 if alone and beside else None


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear between the nearest two; of nothing, not a number."""
    return float(np.percentile(values, percent)) if values else float("nan")


def summarise(  # noqa: PLR0913, PLR0917 - what was seen of a load
    name: str,
    samples: Sequence[Sample],
    wall_s: float,
    lines: Sequence[dict[str, float]] = (),
    probes: Sequence[float] = (),
    bare: Sequence[float] = (),
) -> Load:
    """A load's samples, its requests' log lines, the probes; refused ones have no latency."""
    good = [sample.latency for sample in samples if sample.error is None]
    audio_s = sum(sample.audio_s for sample in samples if sample.error is None)
    batches = [line["batch"] for line in lines if "batch" in line]
    outside = [
        1 - (line["queue_s"] + line["compute_s"] * line.get("batch", 1.0)) / line["total_s"]
        for line in lines
        if line.get("windows") == 1
    ]
    return Load(
        name=name,
        requests=len(samples),
        failed=len(samples) - len(good),
        p50=percentile(good, 50),
        p95=percentile(good, 95),
        p99=percentile(good, 99),
        throughput=audio_s / wall_s,
        batch=statistics.fmean(batches) if batches else None,
        outside_engine=statistics.median(outside) if outside else None,
        probe_max=max(probes, default=None),
        bare_max=max(bare, default=None),
    )


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Least squares: values by minute, times in seconds."""
    return float(np.polyfit(np.asarray(times) / 60.0, values, 1)[0])
