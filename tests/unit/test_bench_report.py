"""From samples to figures, and from figures to a table."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from ops.accuracy.manifest import Clip
from ops.bench import beside
from ops.bench.figures import Beside, Load, Report, slope, summarise
from ops.bench.load import Sample
from ops.bench.table import render

SAMPLES = [Sample("a", 10.0, latency, "") for latency in (1.0, 2.0, 3.0, 4.0)]
FAILED = Sample("a", 10.0, 0.01, "", "503")


def test_a_load_in_numbers() -> None:
    """Refused requests are counted, and are no fast ones; audio is that of the good ones."""
    load = summarise("x", [*SAMPLES, FAILED], wall_s=5.0)
    assert (5, 1, 2.5, 8.0) == (load.requests, load.failed, load.p50, load.throughput)
    assert 3.85 == pytest.approx(load.p95)
    assert (None, None) == (load.batch, load.outside_engine)


def test_the_log_tells_what_the_engine_did() -> None:
    """Batches on average; the part of a request that neither waited nor computed."""
    line = {"queue_s": 0.1, "compute_s": 0.7, "batch": 1.0, "total_s": 1.0, "windows": 1}
    many = {"queue_s": 50.0, "compute_s": 20.0, "batch": 2.0, "total_s": 30.0, "windows": 40}
    load = summarise("x", SAMPLES, 5.0, [line, many], [0.002, 0.03, 0.001], [0.001, 0.02])
    assert (0.03, 0.02) == (load.probe_max, load.bare_max)
    assert 1.5 == load.batch
    assert 0.2 == pytest.approx(load.outside_engine)


def test_slope_is_by_the_minute() -> None:
    """Two megabytes in thirty seconds are four a minute."""
    assert 4.0 == pytest.approx(slope([0, 15, 30], [100, 101, 102]))


def _load(name: str, p50: float) -> Load:
    return Load(name, 10, 0, p50, 2 * p50, 3 * p50, 20.0)


OURS = Beside("sussurro", 2.0, 0.5, 0.9, 10.0, 0.10, 0.05, 300.0, 1.9)
PEER = Beside("other", 6.0, 1.5, 1.9, 25.0, 0.105, 0.06, 400.0, 5.6)
REPORT = Report(
    conditions={"beam": "5"},
    loads=(_load("short, alone", 0.5), _load("short, beside a long file", 1.25)),
    memory_mb={"short, alone": 300.0},
    slope_mb_per_minute=0.25,
    least_mb_by_minute=(300.0, 300.25),
    systems=(OURS, PEER),
    at_once_s=1.5,
    at_once_p95=1.4,
    not_run=("somebody: is not there",),
)


def test_the_table_has_ratios_and_error_rates_beside_them() -> None:
    """A peer whose rate is over a tenth worse is marked: it does not count as faster."""
    text = render(REPORT)
    (row,) = [line.split() for line in text.splitlines() if line.startswith("other")]
    assert ["other", "6.00", "3.00", "1.50", "1.90", "10.5%", "25.0", "2.50", "6.0%*", "400"] == row
    assert "p50 beside a long file / p50 alone: 2.50" in text
    assert "other 4.00 (4.00)" in text
    assert "memory slope: +0.25 MiB a minute" in text
    assert "left out: somebody: is not there" in text


def test_a_report_is_json_for_other_programs() -> None:
    """And can be read back."""
    adapter = TypeAdapter(Report)
    assert REPORT == adapter.validate_json(adapter.dump_json(REPORT))


def test_without_a_reference_there_is_no_rate() -> None:
    """Clips of one's own need none."""
    clip = Clip(Path("a.ogg"), "en", 3.0, "", "", "")
    assert beside.word_error_rate([clip], {"a.ogg": "hello"}) is None
