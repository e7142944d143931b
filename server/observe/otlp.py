"""OpenTelemetry: spans to a collector, by OTLP over HTTP.

Knows: OpenTelemetry's SDK, which is optional and imported here alone.
Must not know: what spans are about.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from server import __version__
from server.observe.traces import Attribute, collect

EXPORT_SECONDS = 5
"""For one batch of spans; longer ones are dropped, and requests never wait."""


def start(endpoint: str) -> Callable[[], None]:
    """Send spans to this collector (its base URL); the call that ends it, which blocks."""
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
    return start_with(BatchSpanProcessor(exporter))


def start_with(processor: SpanProcessor) -> Callable[[], None]:
    """As `start`, with a processor of one's own."""
    resource = Resource.create({"service.name": "sussurro", "service.version": __version__})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("sussurro", __version__)

    @contextmanager
    def opens(
        name: str, attributes: Mapping[str, Attribute], headers: Mapping[bytes, bytes]
    ) -> Iterator[None]:
        sent = {key: headers[key.encode()].decode("latin-1") for key in _known(headers)}
        above = propagate.extract(sent) if sent else None
        kind = trace.SpanKind.SERVER if name == "request" else trace.SpanKind.INTERNAL
        span = tracer.start_span(name, above, kind, {**attributes})
        # What an exception says may quote a caller: that there was one is enough.
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            try:
                yield
            except BaseException:
                span.set_status(trace.StatusCode.ERROR)
                raise
            finally:
                span.end()

    def stop() -> None:
        collect(None)
        provider.shutdown()

    collect(opens)
    return stop


def _known(headers: Mapping[bytes, bytes]) -> list[str]:
    """The headers that name a trace."""
    return [name for name in ("traceparent", "tracestate") if name.encode() in headers]
