"""What requests come to: counters and histograms, one entry a request, when it is over.

Knows: the fields of a request's log line, and which of them may become labels.
Must not know: HTTP, keys. Every label has few values, known before the first request; whatever a
caller can choose (path, key, method, file) is none.
"""

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from server.audio.refusals import MESSAGES
from server.errors import ServerError
from server.observe.logs import RequestRecord

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
FACTORS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)

STAGES = ("upload", "load", "wait", "queue", "compute", "format")
"""Each is a field of the log line, with `_s` behind it."""

OTHER = "other"
NONE = "none"

CLIENT_LEFT = "client_disconnected"

MEDIA_REASONS = frozenset(
    {*MESSAGES, "audio_too_long", "decoder_killed", "decoder_fault", "spool_full", "bad_output"}
)
"""Why a recording was not decoded; every other reason is `other`."""


def _codes(root: type[ServerError] = ServerError) -> Iterator[str]:
    for error in root.__subclasses__():
        yield str(error.code)
        yield from _codes(error)


class RequestMetrics:
    """Fed with each request's record."""

    def __init__(self, registry: CollectorRegistry, models: Sequence[str]) -> None:
        self._codes = frozenset({*_codes(), CLIENT_LEFT})
        self._models = frozenset(models)

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"sussurro_{name}", meaning, labels, registry=registry)

        def histogram(name: str, meaning: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(
                f"sussurro_{name}", meaning, labels, registry=registry, buckets=buckets
            )

        self._requests = counter("requests", "Requests that are over.", "route", "method", "status")
        self._errors = counter("errors", "Requests that failed, by error code.", "code")
        self._seconds = histogram(
            "request_seconds", "From the headers to the end of the answer.", SECONDS, "route"
        )
        self._stages = histogram(
            "stage_seconds", "Parts of a transcription's time.", SECONDS, "stage"
        )
        self._factor = histogram(
            "real_time_factor", "Seconds by second of audio, without the upload.", FACTORS, "model"
        )
        self._upload = counter("upload_bytes", "Bytes of request bodies that arrived.")
        self._audio = counter("audio_seconds", "Audio that was transcribed.", "model", "task")
        self._media = counter("media_failures", "Recordings that were not decoded.", "reason")
        self._windows = counter("windows", "Windows that were decoded.", "model")
        self._fallbacks = counter("fallbacks", "Tries that failed a gate.", "model")
        self._dropped = counter("dropped", "Stretches whose text was left out.", "model")
        self._calls = counter("engine_calls", "Calls of the engine.", "model")
        self._batched = counter("engine_batched", "Calls in the batches of all calls.", "model")
        self._begin()

    def _begin(self) -> None:
        """Everything starts at 0: of a series that is new, Prometheus sees no increase."""
        for code in self._codes:
            self._errors.labels(code)
        for reason in MEDIA_REASONS | {OTHER}:
            self._media.labels(reason)
        for model in self._models:
            for by_model in (self._windows, self._fallbacks, self._dropped, self._calls):
                by_model.labels(model)
            self._batched.labels(model)
            self._factor.labels(model)
        for stage in STAGES:
            self._stages.labels(stage)

    def add(self, record: RequestRecord) -> None:
        """One request is over; its record is complete."""
        route = record.route or NONE
        self._requests.labels(route, record.method, str(record.status or NONE)).inc()
        if record.error is not None:
            code = record.error if record.error in self._codes else OTHER
            self._errors.labels(code).inc()
        if record.total_s is not None:
            self._seconds.labels(route).observe(record.total_s)
        self._upload.inc(record.upload_bytes)
        for stage in STAGES:
            seconds = getattr(record, f"{stage}_s")
            if seconds is not None:
                self._stages.labels(stage).observe(seconds)
        if record.load_s is not None and record.audio_s is None and record.error != CLIENT_LEFT:
            self._media.labels(_media_reason(record)).inc()
        if record.model in self._models:
            self._add_transcription(record, record.model)

    def _add_transcription(self, record: RequestRecord, model: str) -> None:
        if record.windows is None:
            return
        if record.audio_s is not None:
            self._audio.labels(model, record.task or NONE).inc(record.audio_s)
        if record.rtf is not None:
            self._factor.labels(model).observe(record.rtf)
        self._windows.labels(model).inc(record.windows)
        self._fallbacks.labels(model).inc(record.fallbacks or 0)
        self._dropped.labels(model).inc(record.dropped or 0)
        calls = record.calls or 0
        self._calls.labels(model).inc(calls)
        self._batched.labels(model).inc(calls * (record.batch or 0.0))


def _media_reason(record: RequestRecord) -> str:
    return record.reason if record.reason in MEDIA_REASONS else OTHER
