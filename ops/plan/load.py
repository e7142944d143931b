"""A load, the engine that carries it, and how many of them it takes.

Knows: what was measured of engines, and what is only assumed; money.
Must not know: flags, tables, the formula.
"""

import math
from dataclasses import dataclass, replace

from ops.plan.queueing import Queue

DAY = 86_400.0
MOST_ENGINES = 100_000


@dataclass(frozen=True, slots=True)
class Engine:
    """A server, or a GPU: seconds of audio that all its places together do in one second.

    `source` says where that is from; `measured` is False for what nobody has run.
    """

    name: str
    speed: float
    places: int
    source: str
    measured: bool = True


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            "cpu",
            32.0,
            2,
            "docs/performance.md: 8 clips at once, 60 s of speech in 1.87 s; Whisper base, greedy, "
            "two Zen 4 cores, 2026-11-26",
        ),
        Engine(
            "l40",
            100.0,
            16,
            "the acceptance's target for large-v3 with 16 windows (docs/tensorrt_llm.md), which "
            "nobody has run",
            measured=False,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Load:
    """Recordings that come at random: hours of audio a day, more of them at the busiest time.

    `peak` is the busiest hour by the mean one; `clip_s` and `clip_cv` the length of a recording and
    its standard deviation by it.
    """

    hours_a_day: float
    peak: float
    clip_s: float
    clip_cv: float

    def queue(self, engine: Engine, engines: int, *, at_peak: bool = True) -> Queue:
        """A recording takes one place until it is done, as if it had one window.

        A longer one spreads over several, and places of an engine that is not full are faster: so
        waits and times are rather less than this says.
        """
        audio_a_second = self.hours_a_day * 3_600 / DAY * (self.peak if at_peak else 1.0)
        service = self.clip_s * engine.places / engine.speed
        return Queue(audio_a_second / self.clip_s, service, self.clip_cv, engines * engine.places)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a number of engines does at the busiest time; seconds, and money in its own unit."""

    engines: int
    spare: int
    utilisation: float
    mean_utilisation: float
    mean_wait_s: float
    p95_wait_s: float
    p99_wait_s: float
    service_s: float
    cost_a_day: float | None
    cost_an_audio_hour: float | None


def fewest(
    load: Load, engine: Engine, share: float, wait_s: float, most_taken: float = 0.9
) -> int | None:
    """The fewest engines with which this share waits no longer; None if even the most do not do.

    Very many engines would have short waits when all but full, and nothing left for a day that is
    busier than was thought: hence `most_taken`. More engines never wait longer, so halving finds
    it.
    """
    least = max(1, math.floor(load.queue(engine, 1).utilisation))
    most = least

    def will_do(engines: int) -> bool:
        queue = load.queue(engine, engines)
        return queue.utilisation <= most_taken and queue.wait(share) <= wait_s

    while not will_do(most):
        if most >= MOST_ENGINES:
            return None
        least, most = most + 1, min(2 * most, MOST_ENGINES)
    while least < most:
        middle = (least + most) // 2
        if will_do(middle):
            most = middle
        else:
            least = middle + 1
    return most


def plan(
    load: Load, engine: Engine, engines: int, *, spare: int = 0, price: float | None = None
) -> Plan:
    """What `engines` do; `spare` more are paid for, `price` an hour each, and carry nothing."""
    queue = load.queue(engine, engines)
    cost = None if price is None else (engines + spare) * price * 24
    return Plan(
        engines,
        spare,
        queue.utilisation,
        replace(queue, rate=queue.rate / load.peak).utilisation,
        queue.mean_wait,
        queue.wait(0.95),
        queue.wait(0.99),
        queue.service,
        cost,
        None if cost is None else cost / load.hours_a_day,
    )
