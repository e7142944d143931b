"""`ops plan`: how many engines a load needs, how long callers wait, what that costs.

Knows: flags, how a plan is shown.
Must not know: the formula (`queueing.py`), figures of engines (`load.py`).

Exit codes: 0 planned; 1 no number of engines will do; 2 wrong usage.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, replace

import click

from ops.options import AS_JSON
from ops.plan.load import ENGINES, MOST_ENGINES, Engine, Load, Plan, fewest, plan


class Finite(click.FloatRange):
    """No number is within every range."""

    def convert(
        self,
        value: float,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """A number."""
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return found


POSITIVE = Finite(min=0, min_open=True, max=1e9)


@click.command("plan")
@click.option("--hours-a-day", type=POSITIVE, required=True, help="Hours of audio a day.")
@click.option(
    "--peak",
    type=Finite(1, 1_000),
    default=3.0,
    show_default=True,
    help="The busiest hour by the mean one.",
)
@click.option(
    "--clip-seconds",
    type=POSITIVE,
    default=60.0,
    show_default=True,
    help="Mean length of a recording.",
)
@click.option(
    "--clip-cv",
    type=Finite(0, 100),
    default=1.0,
    show_default=True,
    help="Its standard deviation by its mean.",
)
@click.option(
    "--engine",
    "name",
    type=click.Choice(sorted(ENGINES)),
    default="cpu",
    show_default=True,
    help="Whose figures to take.",
)
@click.option(
    "--speed",
    type=POSITIVE,
    help="Your own: audio seconds a second of a full engine, as `ops bench` tells.",
)
@click.option("--places", type=click.IntRange(1, 10_000), help="Your own: windows at once.")
@click.option(
    "--wait",
    "wait_s",
    type=Finite(0, 86_400),
    default=5.0,
    show_default=True,
    help="Longest wait that --share of the recordings may have, in seconds.",
)
@click.option("--share", type=Finite(0.5, 0.9999), default=0.95, show_default=True)
@click.option(
    "--most-taken",
    type=Finite(min=0.1, max=0.999),
    default=0.9,
    show_default=True,
    help="Share of the places that may be taken at the peak, however short the waits.",
)
@click.option(
    "--spare",
    type=click.IntRange(0, 10_000),
    default=0,
    show_default=True,
    help="Engines beside those, for when one fails.",
)
@click.option("--price-an-hour", "price", type=Finite(0, 1e6), help="Of an engine, in your money.")
@AS_JSON
def command(  # noqa: PLR0913 - one a flag
    *,
    hours_a_day: float,
    peak: float,
    clip_seconds: float,
    clip_cv: float,
    name: str,
    speed: float | None,
    places: int | None,
    wait_s: float,
    share: float,
    most_taken: float,
    spare: int,
    price: float | None,
    as_json: bool,
) -> None:
    """Say how many engines (servers, or GPUs) a load needs at its busiest time.

    A model of queues, not a measurement: docs/capacity.md says what it leaves out.
    """
    engine = _engine(name, speed, places)
    load = Load(hours_a_day, peak, clip_seconds, clip_cv)
    engines = fewest(load, engine, share, wait_s, most_taken)
    if engines is None:
        raise click.ClickException(f"Not even {MOST_ENGINES} engines will do.")
    found = plan(load, engine, engines, spare=spare, price=price)
    if as_json:
        click.echo(
            json.dumps({"engine": asdict(engine), "load": asdict(load), "plan": asdict(found)})
        )
        return
    for label, value in _lines(engine, found):
        click.echo(f"{label:<24}{value}")


def _engine(name: str, speed: float | None, places: int | None) -> Engine:
    engine = ENGINES[name]
    if speed is None and places is None:
        return engine
    if speed is None or places is None:
        raise click.UsageError("--speed and --places belong together.")
    return replace(engine, speed=speed, places=places, source="given", measured=True)


def _lines(engine: Engine, found: Plan) -> Iterator[tuple[str, str]]:
    beside = f" and {found.spare} spare" if found.spare else ""
    yield "engines", f"{found.engines}{beside} ({engine.name}, {engine.places} places each)"
    yield "taken at the peak", f"{found.utilisation:.0%}; {found.mean_utilisation:.0%} on average"
    yield (
        "wait at the peak",
        (
            f"mean {_seconds(found.mean_wait_s)}, p95 {_seconds(found.p95_wait_s)}, "
            f"p99 {_seconds(found.p99_wait_s)}"
        ),
    )
    yield "then, in a place", f"{_seconds(found.service_s)} on average at most"
    if found.cost_a_day is not None:
        yield (
            "cost a day",
            f"{found.cost_a_day:,.2f}; {found.cost_an_audio_hour:.4f} an hour of audio",
        )
    yield "speed of an engine", f"{engine.speed:g} x real time: {engine.source}"
    if not engine.measured:
        yield "ASSUMED", "measure yours with `ops bench`, and give --speed and --places"


def _seconds(value: float) -> str:
    return "without end" if math.isinf(value) else f"{value:.2f} s"
