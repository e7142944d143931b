"""How the server is at this moment: gauges, read when somebody asks.

Knows: who waits and who is inside, engines, media loader, Redis.
Must not know: HTTP. `read` runs on the event loop, where all of this lives, and takes microseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge

from server import __version__
from server.access.windows import Windows
from server.admission import Admission
from server.engines.base import Engine
from server.engines.choice import Choice
from server.jobs.record import Figures


class Transcriber(Protocol):
    """One model, ready for use."""

    @property
    def engine(self) -> Engine:
        """The engine beneath."""
        ...

    @property
    def waiting(self) -> int:
        """Windows that wait for their turn."""
        ...


class MediaLoader(Protocol):
    """What decodes uploads."""

    @property
    def healthy(self) -> bool:
        """Whether it runs."""
        ...


class Jobs(Protocol):
    """Those of this server."""

    async def figures(self) -> Figures:
        """How they stand."""
        ...


class Connections(Protocol):
    """Those that are open."""

    @property
    def most(self) -> int:
        """How many there may be."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What there is to look at; `transcribers` fills while models load."""

    models: Sequence[str]
    transcribers: Mapping[str, Transcriber]
    admission: Admission
    loader: MediaLoader
    windows: Windows
    chosen: Mapping[str, Choice]
    jobs: Jobs | None = None
    connections: Connections | None = None


class StateMetrics:
    """Gauges of the server's parts."""

    def __init__(self, registry: CollectorRegistry, parts: Parts) -> None:
        self._parts = parts

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"sussurro_{name}", meaning, labels, registry=registry)

        gauge("build_info", "The server's version.", "version").labels(__version__).set(1)
        engines = gauge("engine_info", "What serves a model.", "model", "engine", "build")
        for model, choice in parts.chosen.items():
            engines.labels(model, choice.engine, choice.build).set(1)
        self._running = gauge("requests_running", "Transcriptions that have a place.")
        self._waiting = gauge("requests_waiting", "Transcriptions that wait for a place.")
        self._backlog = gauge("backlog_audio_seconds", "Audio that is still to be done.")
        self._draining = gauge("draining", "1 once the server, about to stop, lets nobody in.")
        self._ready = gauge("model_ready", "1 if a model is warm.", "model")
        self._healthy = gauge("engine_healthy", "1 if a model's engine works.", "model")
        self._flying = gauge("windows_in_flight", "Windows being computed.", "model")
        self._queued = gauge("windows_waiting", "Windows that wait for the engine.", "model")
        self._kv_cache = gauge("kv_cache_used_ratio", "Share of the fullest KV cache.", "model")
        self._loader = gauge("media_loader_healthy", "1 if the media process runs.")
        self._connections = gauge("connections", "Connections that are open.")
        self._most_connections = gauge("connections_max", "Connections that there may be.")
        self._redis = None
        if parts.windows.shared:
            self._redis = gauge("redis_up", "1 if Redis answers, where one is set.")

    def read(self) -> None:
        """Set all of them."""
        parts = self._parts
        self._running.set(parts.admission.active)
        self._waiting.set(parts.admission.waiting)
        self._backlog.set(parts.admission.backlog_s)
        self._draining.set(parts.admission.draining)
        self._loader.set(parts.loader.healthy)
        if parts.connections is not None:
            self._connections.set(len(parts.connections))
            self._most_connections.set(parts.connections.most)
        if self._redis is not None:
            self._redis.set(not parts.windows.alone)
        for model in parts.models:
            transcriber = parts.transcribers.get(model)
            self._ready.labels(model).set(transcriber is not None)
            if transcriber is not None:
                self._read_engine(model, transcriber)

    def _read_engine(self, model: str, transcriber: Transcriber) -> None:
        stats = transcriber.engine.stats()
        self._healthy.labels(model).set(stats.healthy)
        self._flying.labels(model).set(stats.running)
        self._queued.labels(model).set(stats.waiting + transcriber.waiting)
        if stats.kv_cache_used is not None:
            self._kv_cache.labels(model).set(stats.kv_cache_used)
