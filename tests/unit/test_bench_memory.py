"""Memory by the minute: what stays, whatever requests need for a while."""

import itertools

import pytest

from ops.bench.memory import least_by_minute, settled_slope, watched


def test_a_minute_counts_by_its_least() -> None:
    """A request's peak is no growth; the last minute counts only if it is whole."""
    sizes = [
        (0.0, 500.0),
        (30.0, 300.0),
        (59.0, 900.0),
        (61.0, 301.0),
        (119.0, 800.0),
        (121.0, 1.0),
    ]
    assert [300.0, 301.0] == least_by_minute(sizes)
    assert [] == least_by_minute([])


def test_the_slope_is_that_of_the_settled_part() -> None:
    """Warming up takes memory, too; of a few minutes nothing can be told."""
    assert 0.5 == pytest.approx(settled_slope([100, 300, 400, 400.5, 401, 401.5, 402, 402.5, 403]))
    assert settled_slope([400, 401, 402]) is None


def test_memory_is_looked_at_until_the_end() -> None:
    """Again and again, with the time since the beginning."""
    sizes = itertools.count(1)
    looked = 0
    with watched(lambda: float(next(sizes)), pause=0.001) as samples:
        while len(samples) < 3:
            looked += 1
    assert [1.0, 2.0, 3.0] == [size for _, size in samples[:3]]
    assert sorted(samples) == samples
    count = next(sizes)
    assert len(samples) == count - 1
