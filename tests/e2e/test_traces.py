"""Spans of a request reach a collector; without one, nothing of OpenTelemetry is there."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from server_process import KEY, ROOT, Start, noise

from server.observe.traces import span

TRACE = "0af7651916cd43dd8448eb211c80319c"
ABOVE = "b7ad6b7169203331"


class Collector:
    """A receiver of OTLP over HTTP."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def spans(self) -> list[Span]:
        """All that have arrived."""
        return [
            one
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for one in scope.spans
        ]

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A running one."""
    collector = Collector()
    yield collector
    collector.close()


def test_a_request_and_its_parts_are_spans(start: Start, collector: Collector) -> None:
    """One trace, the caller's own; each part below the request, and nothing that was sent in it."""
    server = start(SUSSURRO_OTLP_ENDPOINT=collector.url).ready()
    with server.client() as client:
        answer = client.post(
            "/v1/audio/transcriptions",
            files={"file": ("secret-name.wav", noise(2.0))},
            data={"prompt": "secret-prompt", "language": "pt"},
            headers={"traceparent": f"00-{TRACE}-{ABOVE}-01", "x-request-id": "mine"},
        )
        client.get("/secret-path")
    assert 200 == answer.status_code
    assert 0 == server.stop()

    spans = [one for one in collector.spans if one.trace_id.hex() == TRACE]
    by_id = {one.span_id: one for one in spans}
    paths = set()
    for one in spans:
        path, above = [one.name], by_id.get(one.parent_span_id)
        while above is not None:
            path, above = [above.name, *path], by_id.get(above.parent_span_id)
        paths.add("/".join(path))
    assert paths >= {
        "request",
        *(f"request/{part}" for part in ("wait", "upload", "load", "format", "window")),
        *(f"request/window/{part}" for part in ("queue", "engine")),
    }
    (whole,) = [one for one in spans if one.name == "request"]
    assert ABOVE == whole.parent_span_id.hex()
    assert {"request_id": "mine", "method": "POST"} == {
        each.key: each.value.string_value for each in whole.attributes
    }
    for one in spans:
        assert whole.start_time_unix_nano <= one.start_time_unix_nano
        assert one.end_time_unix_nano <= whole.end_time_unix_nano
    sent = str(collector.requests)
    assert "secret" not in sent
    assert KEY.key not in sent


def test_a_collector_that_is_not_there_holds_nobody_up(start: Start) -> None:
    """Spans are lost; requests are served, and the server ends in time."""
    server = start(SUSSURRO_OTLP_ENDPOINT="http://127.0.0.1:9").ready()
    with server.client() as client:
        assert 200 == client.get("/v1/models").status_code
    assert 0 == server.stop(within=20)


def test_without_a_collector_nothing_is_imported() -> None:
    """And a span is the same object each time, that does nothing.

    redis-py imports the SDK by itself where it is installed, but no exporter.
    """
    code = (
        "import json, sys, server.__main__; print(json.dumps([m for m in sys.modules "
        "if m == 'server.observe.otlp' or m.startswith('opentelemetry.exporter')]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert [] == json.loads(done.stdout)
    assert span("one") is span("other", seconds=1)


def test_without_opentelemetry_the_setting_stops_the_start(start: Start) -> None:
    """With the list that is missing; exit code 78."""
    hide = "import sys; sys.modules['opentelemetry'] = None; import runpy; "
    server = start(
        "-c",
        hide + "runpy.run_module('server', run_name='__main__', alter_sys=True)",
        SUSSURRO_OTLP_ENDPOINT="http://127.0.0.1:9",
    )

    assert 78 == server.exit_code()
    assert "SUSSURRO_OTLP_ENDPOINT: needs requirements/traces.txt" in server.stderr
