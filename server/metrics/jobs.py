"""How the jobs stand: gauges of the shared queue, and counters of what ended on this server.

Knows: which figures of jobs there are.
Must not know: databases; who reads them takes them with it.
"""

from collections.abc import Iterator
from typing import TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from server.jobs.record import ENDS, TOLD, Figures

Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily


class JobCollector:
    """The figures that were read last; those of the queue are missing if they could not be."""

    def __init__(self) -> None:
        self._figures: Figures | None = None

    def take(self, figures: Figures) -> None:
        """What the next scrape tells."""
        self._figures = figures

    def collect(self) -> Iterator[Family]:
        """One family a figure; one that is not known has no sample."""
        figures = self._figures
        queue = figures.queue if figures else None
        yield _gauge(
            "jobs_queued",
            "Jobs that wait, of all servers of this queue.",
            queue.queued if queue else None,
        )
        yield _gauge(
            "jobs_queued_audio_seconds",
            "Audio of the jobs that wait.",
            queue.audio_s if queue else None,
        )
        yield _gauge(
            "jobs_oldest_queued_seconds",
            "Time since the oldest job that waits was taken.",
            queue.oldest_s if queue else None,
        )
        running = figures.running if figures else None
        yield _gauge("jobs_running", "Jobs that this server works on.", running)
        up = None if figures is None else float(queue is not None)
        yield _gauge("jobs_database_up", "1 if the database of jobs answers.", up)
        ended = CounterMetricFamily(
            "sussurro_jobs_ended", "Jobs that ended by way of this server.", labels=["state"]
        )
        for state in ENDS if figures else ():
            ended.add_metric([state], figures.ended.get(state, 0) if figures else 0)
        yield ended
        yield from _webhooks(figures)


def _webhooks(figures: Figures | None) -> Iterator[Family]:
    outbox = figures.outbox if figures else None
    yield _gauge(
        "webhooks_pending",
        "Webhooks that are still tried, of all servers of this queue.",
        outbox.pending if outbox else None,
    )
    yield _gauge(
        "webhooks_oldest_pending_seconds",
        "Time since the job ended whose webhook has been tried for longest.",
        outbox.oldest_s if outbox else None,
    )
    yield _gauge(
        "webhooks_dead",
        "Webhooks that were given up, and may be sent again.",
        outbox.dead if outbox else None,
    )
    tried = CounterMetricFamily(
        "sussurro_webhooks", "Tries of this server to send a webhook.", labels=["outcome"]
    )
    for told in TOLD if figures else ():
        tried.add_metric([told], (figures.told or {}).get(told, 0) if figures else 0)
    yield tried


def _gauge(name: str, meaning: str, value: float | None) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"sussurro_{name}", meaning)
    if value is not None:
        family.add_metric([], value)
    return family
