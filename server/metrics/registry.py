"""All metrics together, and the text that Prometheus reads.

Knows: which kinds of metrics there are, that a scrape must not hold up the event loop.
Must not know: who may read them, HTTP.
"""

import asyncio
from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from server.metrics.gpus import GpuCollector, Nvml
from server.metrics.jobs import JobCollector
from server.metrics.requests import RequestMetrics
from server.metrics.state import Parts, StateMetrics
from server.observe.logs import RequestRecord


class Metrics:
    """One server's figures, in a registry of their own."""

    def __init__(self, parts: Parts, nvml: Nvml | None = None, gpus: Sequence[int] = ()) -> None:
        """`nvml` as `load_nvml` gives it; `gpus` are those that the engines use."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nothing reads
        self.registry = CollectorRegistry(auto_describe=False)
        self._requests = RequestMetrics(self.registry, parts.models)
        self._state = StateMetrics(self.registry, parts)
        ProcessCollector(registry=self.registry)
        self._jobs = parts.jobs
        self._job_figures = JobCollector()
        if parts.jobs is not None:
            self.registry.register(self._job_figures)
        if nvml is not None:
            self.registry.register(GpuCollector(nvml, gpus))

    def request_done(self, record: RequestRecord) -> None:
        """A request is over."""
        self._requests.add(record)

    async def render(self) -> bytes:
        """The text format 0.0.4.

        The state is read on the event loop, whose it is; the rest takes milliseconds, and a thread.
        """
        self._state.read()
        if self._jobs is not None:
            self._job_figures.take(await self._jobs.figures())
        return await asyncio.to_thread(generate_latest, self.registry)
