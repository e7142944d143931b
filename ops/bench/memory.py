"""How a process' memory goes on: looked at every second, judged by each minute's least.

Knows: samples of time and size.
Must not know: whose memory it is. A request under way needs memory that it gives back; what stays
is seen between requests, where it is least.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ops.bench.figures import slope

MINUTE = 60.0

PAUSE = 1.0
"""Seconds between looks."""

SETTLED = 1 / 3
"""The part of a run after which memory has to stay where it is."""

Samples = list[tuple[float, float]]
"""Seconds and MiB."""


@contextmanager
def watched(memory: Callable[[], float], pause: float = PAUSE) -> Iterator[Samples]:
    """Samples that are added to until this is left; the time is that since its beginning."""
    samples: Samples = []
    ending = threading.Event()
    started = time.perf_counter()

    def work() -> None:
        while not ending.wait(pause):
            samples.append((time.perf_counter() - started, memory()))

    thread = threading.Thread(target=work, name="memory", daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ending.set()
        thread.join()


def least_by_minute(samples: Sequence[tuple[float, float]]) -> list[float]:
    """The least size of each whole minute, in order."""
    minutes: dict[int, float] = {}
    for at, size in samples:
        minute = int(at / MINUTE)
        minutes[minute] = min(size, minutes.get(minute, size))
    whole = int(max((at for at, _ in samples), default=0.0) / MINUTE)
    return [minutes[minute] for minute in sorted(minutes) if minute < whole]


def settled_slope(least: Sequence[float]) -> float | None:
    """MiB a minute once memory has settled; None of less than three minutes."""
    rest = least[int(len(least) * SETTLED) :]
    return slope([MINUTE * minute for minute in range(len(rest))], rest) if len(rest) > 2 else None
