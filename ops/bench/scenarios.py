"""The parts of a run, one after the other, on one server.

Knows: what is sent together with what, and in which order.
Must not know: servers' insides, peers, how results look.
"""

import time
from collections.abc import Callable, Sequence

from ops.accuracy.manifest import Clip
from ops.bench import bare_loop
from ops.bench.figures import Load, summarise
from ops.bench.load import Sample, closed_loop, in_the_background, open_loop
from ops.bench.memory import least_by_minute, settled_slope, watched
from ops.bench.options import BenchError, Options
from ops.bench.probe import Probe
from ops.bench.target import Target

OPEN_SHARE = 0.6
"""The open loop's rate by the capacity that the closed one found: busy, not overloaded."""

SOAK_CLIENTS = 4


class Scenarios:
    """Runs parts and keeps their loads; `memory_mb` is the server's after each."""

    def __init__(
        self,
        target: Target,
        short: Sequence[Clip],
        long: Clip,
        options: Options,
        progress: Callable[[str], None],
    ) -> None:
        self.loads: list[Load] = []
        self.memory_mb: dict[str, float] = {}
        self.slope: float | None = None
        self.least_by_minute: list[float] = []
        self._target = target
        self._short = short
        self._long = long
        self._options = options
        self._progress = progress
        self._probes: list[Probe] = []

    def run(self) -> None:
        """All parts.

        Raises:
            BenchError: not even the first requests are answered.
        """
        count = self._options.rounds * len(self._short)
        self._warm()
        with bare_loop.started() as bare:
            self._probes = [Probe(self._target.url), Probe(bare)]
            try:
                self._parts(count)
            finally:
                for probe in self._probes:
                    probe.close()
        if self._target.pid:
            self.memory_mb["peak"] = self._target.memory("VmHWM")

    def _parts(self, count: int) -> None:
        options = self._options
        self._part("short, alone", lambda: self._closed(1, count))
        at_once = self._part(f"short, {options.at_once} at once", lambda: self._at_once(count))
        rate = options.rate or OPEN_SHARE * at_once.requests / max(self._wall_s, 1e-9)
        self._part(
            f"short, {rate:.2g} a second",
            lambda: open_loop(
                self._target.ask, self._short, rate=rate, count=count, seconds=options.seconds
            ),
        )
        self._part("the long file", lambda: self._closed(1, 1, [self._long]))
        with in_the_background(self._target.ask, self._long):
            time.sleep(1.0)  # it has been uploaded and is under way
            self._part("short, beside a long file", lambda: self._closed(1, count))
        if options.soak_minutes:
            self._part("soak", self._soak)

    def _warm(self) -> None:
        samples = self._closed(1, len(self._short))
        if failed := [sample.error for sample in samples if sample.error]:
            raise BenchError(f"the server does not answer: {failed[0]}")
        self._target.take_lines()

    def _part(self, name: str, work: Callable[[], list[Sample]]) -> Load:
        assert self._probes, "This is a bug: parts run while the probes ask"
        for probe in self._probes:
            probe.take()
        started = time.perf_counter()
        samples = work()
        self._wall_s = time.perf_counter() - started
        lines = self._target.take_lines()
        waits = [probe.take() for probe in self._probes]
        load = summarise(name, samples, self._wall_s, lines, *waits)
        self._progress(f"{name}: {load.requests} requests in {self._wall_s:.1f} s")
        self.loads.append(load)
        if self._target.pid:
            self.memory_mb[name] = self._target.memory()
        return load

    def _closed(
        self, clients: int, count: int, clips: Sequence[Clip] | None = None
    ) -> list[Sample]:
        return closed_loop(
            self._target.ask,
            clips or self._short,
            clients=clients,
            count=count,
            seconds=self._options.seconds,
        )

    def _at_once(self, count: int) -> list[Sample]:
        return self._closed(self._options.at_once, count)

    def _soak(self) -> list[Sample]:
        """Short clips and now and then the long one; memory by the minute meanwhile."""
        clips = [*self._short, *self._short, *self._short, self._long]
        end = time.perf_counter() + self._options.soak_minutes * 60
        samples: list[Sample] = []
        with watched(self._target.memory) as sizes:
            while (now := time.perf_counter()) < end:
                samples += closed_loop(
                    self._target.ask,
                    clips,
                    clients=SOAK_CLIENTS,
                    count=len(clips),
                    seconds=end - now,
                )
        if self._target.pid:
            self.least_by_minute = least_by_minute(sizes)
            self.slope = settled_slope(self.least_by_minute)
        return samples
