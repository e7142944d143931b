"""`ops plan`: the formula beside a simulation, and the numbers that it leads to."""

import heapq
import json
import math
import time

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ops.__main__ import main
from ops.plan.load import ENGINES, Load, fewest, plan
from ops.plan.queueing import Queue

CUSTOMERS = 600_000
TOO_SHORT, TOO_LONG = 0.15, 0.15
MORE_VARIED = 0.35
"""How far a wait may be off. Where lengths vary much the formula is too careful: by 19 % for 64
places and cv 2, and 13 % for 4, in the means of four runs of two million customers."""

NEGLIGIBLE = 0.02
"""A wait below this share of a service is none, whatever its relative error."""


def simulated(queue: Queue, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Waits of many customers, first come, first served; lengths are log-normal or the same."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / queue.rate, CUSTOMERS))
    if queue.cv:
        sigma = math.sqrt(math.log(1 + queue.cv**2))
        services = rng.lognormal(math.log(queue.service) - sigma**2 / 2, sigma, CUSTOMERS)
    else:
        services = np.full(CUSTOMERS, queue.service)
    free = [0.0] * queue.places
    waits = np.empty(CUSTOMERS)
    for number, (arrival, service) in enumerate(zip(arrivals, services, strict=True)):
        begun = max(arrival, heapq.heappop(free))
        waits[number] = begun - arrival
        heapq.heappush(free, begun + service)
    return waits[CUSTOMERS // 10 :]


@pytest.mark.parametrize("cv", [0.0, 1.0, 2.0])
@pytest.mark.parametrize(("places", "utilisation"), [(1, 0.7), (4, 0.8), (64, 0.95)])
def test_the_formula_is_near_a_simulation(places: int, utilisation: float, cv: float) -> None:
    """Mean and p95 of the wait, for one place, a CPU server, and a GPU or many."""
    queue = Queue(places * utilisation, 1.0, cv, places)
    waits = simulated(queue, seed=places)
    too_long = MORE_VARIED if cv > 1 else TOO_LONG
    for found, expected in (
        (queue.mean_wait, float(waits.mean())),
        (queue.wait(0.95), float(np.quantile(waits, 0.95))),
    ):
        assert found > (1 - TOO_SHORT) * expected - NEGLIGIBLE
        assert found < (1 + too_long) * expected + NEGLIGIBLE


@pytest.mark.parametrize(
    ("load", "places", "waits"),
    [(0.5, 1, 0.5), (1.0, 2, 1 / 3), (2.0, 3, 4 / 9), (5.0, 8, 0.1673), (90.0, 100, 0.2169)],
)
def test_erlangs_c_is_that_of_the_tables(load: float, places: int, waits: float) -> None:
    """Small ones by hand, larger ones from the sum that defines it, computed exactly."""
    assert waits == pytest.approx(Queue(load, 1.0, 1.0, places).waits, abs=5e-5)


@given(st.floats(0.01, 0.99), st.floats(0, 3))
def test_one_place_is_pollaczek_and_khinchine(utilisation: float, cv: float) -> None:
    """Exact, whatever the lengths."""
    exact = utilisation / (1 - utilisation) * (1 + cv**2) / 2
    assert exact == pytest.approx(Queue(utilisation, 1.0, cv, 1).mean_wait)


@given(st.floats(0.1, 500), st.integers(1, 600), st.floats(0, 3))
def test_more_places_never_wait_longer(rate: float, places: int, cv: float) -> None:
    """Nor does less load; and shares are in order."""
    queue = Queue(rate, 1.0, cv, places)
    assert Queue(rate, 1.0, cv, places + 1).mean_wait <= queue.mean_wait
    assert Queue(rate / 2, 1.0, cv, places).mean_wait <= queue.mean_wait
    assert 0 <= queue.waits <= 1
    assert 0 <= queue.wait(0.5) <= queue.wait(0.95) <= queue.wait(0.99)


def test_a_hundred_thousand_places_are_no_trouble() -> None:
    """Finite, and in a moment."""
    started = time.monotonic()
    queue = Queue(99_900.0, 1.0, 1.0, 100_000)
    assert 0 < queue.waits < 1
    assert math.isfinite(queue.mean_wait)
    assert time.monotonic() - started < 5


LOADS = st.builds(Load, st.floats(0.1, 1e5), st.floats(1, 10), st.floats(1, 3_600), st.floats(0, 3))


@given(LOADS, st.sampled_from(sorted(ENGINES)), st.floats(0, 60))
def test_the_fewest_will_do_and_one_less_will_not(load: Load, name: str, wait_s: float) -> None:
    """And what they cost grows with them."""
    engine = ENGINES[name]
    engines = fewest(load, engine, 0.95, wait_s)
    assert engines is not None
    will_do = plan(load, engine, engines)
    assert will_do.p95_wait_s <= wait_s
    assert will_do.utilisation <= 0.9
    if engines > 1:
        one_less = plan(load, engine, engines - 1)
        assert one_less.p95_wait_s > wait_s or one_less.utilisation > 0.9
    priced = plan(load, engine, engines, spare=2, price=1.5)
    assert (engines + 2) * 36 == pytest.approx(priced.cost_a_day)


def ran(*arguments: str) -> str:
    """The command's output."""
    result = CliRunner().invoke(main, ["plan", *arguments])
    assert 0 == result.exit_code, result.output
    return result.output


def test_the_command_says_what_is_assumed() -> None:
    """Nobody has run an L40; a speed of one's own is no assumption."""
    assert "ASSUMED" in ran("--hours-a-day", "100", "--engine", "l40")
    assert "ASSUMED" not in ran("--hours-a-day", "100")
    own = ran("--hours-a-day", "100", "--engine", "l40", "--speed", "80", "--places", "8")
    assert "ASSUMED" not in own


def test_the_command_as_json() -> None:
    """Figures, and where they are from."""
    found = json.loads(ran("--hours-a-day", "500", "--price-an-hour", "2", "--json"))
    assert "performance.md" in found["engine"]["source"]
    assert found["plan"]["engines"] >= 2
    assert found["plan"]["cost_a_day"] == found["plan"]["engines"] * 48


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--hours-a-day", "0"],
        ["--hours-a-day", "nan"],
        ["--hours-a-day", "1", "--speed", "nan", "--places", "2"],
        ["--hours-a-day", "1", "--speed", "3"],
        ["--hours-a-day", "1", "--share", "1"],
    ],
)
def test_wrong_usage_is_told(arguments: list[str]) -> None:
    """With exit code 2."""
    assert 2 == CliRunner().invoke(main, ["plan", *arguments]).exit_code
