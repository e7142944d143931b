import email
import email.policy
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httpx2")

from ops.accuracy.manifest import Clip
from ops.accuracy.remote import Server, ServerOptions
from ops.accuracy.timed import TimedText

ANSWER = {
    "task": "transcribe",
    "language": "portuguese",
    "duration": 1.0,
    "text": " olá mundo",
    "segments": [{"id": 0, "start": 0.0, "end": 1.0, "text": " olá mundo"}],
    "words": [{"word": "olá", "start": 0.1, "end": 0.5}],
}


class Stub(ThreadingHTTPServer):
    """Answers every upload the same way and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.body = json.dumps(ANSWER).encode()
        self.requests: list[tuple[str, str, list[tuple[str, str]]]] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One upload."""

    server: Stub

    def do_POST(self) -> None:
        """Read the form with the standard library's parser, and answer."""
        length = int(self.headers["Content-Length"])
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = email.message_from_bytes(head + self.rfile.read(length), policy=email.policy.default)
        fields: list[tuple[str, str]] = []
        for part in form.iter_parts():
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            name = part.get_param("name", header="content-disposition")
            fields.append((str(name), payload.decode()))
        authorization = self.headers.get("Authorization", "")
        self.server.requests.append((self.path, authorization, sorted(fields)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *args: Any) -> None:
        """Stay silent."""


@pytest.fixture
def stub() -> Iterator[Stub]:
    """A server on a free port."""
    server = Stub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """A Portuguese clip; its bytes are text so that the form is easy to read."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"audio")
    return Clip(path, "pt", 1.0, "olá mundo", "dev", "short")


def fields(stub: Stub, clip: Clip, options: ServerOptions) -> list[tuple[str, str]]:
    """What the server was sent for the clip."""
    server = Server(stub.url, "", options)
    server.transcribe(clip)
    server.close()
    return stub.requests[-1][2]


def test_a_request_is_openais(stub: Stub, clip: Clip) -> None:
    """Path, key and fields are those of OpenAI's API, `/v1` in the URL or not."""
    for url in (stub.url, stub.url + "/", stub.url + "/v1"):
        server = Server(url, "secret", ServerOptions())
        server.transcribe(clip)
        server.close()
        expected_fields = [
            ("file", "audio"),
            ("language", "pt"),
            ("model", "whisper-1"),
            ("response_format", "verbose_json"),
        ]
        expected = ("/v1/audio/transcriptions", "Bearer secret", expected_fields)
        assert expected == stub.requests[-1]


def test_options_add_their_fields_alone(stub: Stub, clip: Clip) -> None:
    """Words and mode are sent when asked for; the language is left out to test detection."""
    options = ServerOptions("base", "fast", word_timestamps=True, detect_language=True)
    expected = [
        ("file", "audio"),
        ("mode", "fast"),
        ("model", "base"),
        ("response_format", "verbose_json"),
        ("timestamp_granularities[]", "segment"),
        ("timestamp_granularities[]", "word"),
    ]
    assert expected == fields(stub, clip, options)


def test_a_clip_without_speech_has_no_language(stub: Stub, clip: Clip) -> None:
    """Nobody speaks, so no language can be named."""
    silence = Clip(clip.path, "xx", 1.0, "", "dev", "silence")
    assert "language" not in dict(fields(stub, silence, ServerOptions()))


def test_the_answer_is_kept_whole(stub: Stub, clip: Clip) -> None:
    """Text, language, segments and words; the time is measured."""
    server = Server(stub.url, "", ServerOptions())
    hypothesis = server.transcribe(clip)
    server.close()
    assert (hypothesis.text, hypothesis.language) == (" olá mundo", "portuguese")
    assert (TimedText(0.0, 1.0, " olá mundo"),) == hypothesis.segments
    assert (TimedText(0.1, 0.5, "olá"),) == hypothesis.words
    assert hypothesis.error is None
    assert 0 < hypothesis.wall_s < 10


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (503, {"error": {"message": "busy", "type": "server_error"}}, "503: busy"),
        (400, {"error": "bad"}, "400: "),
        (200, {"task": "transcribe"}, "the answer is no transcript"),
    ],
)
def test_a_refusal_is_an_error_without_text(
    stub: Stub, clip: Clip, status: int, body: dict[str, Any], expected: str
) -> None:
    """What the server says against the clip is kept for the report."""
    stub.status, stub.body = status, json.dumps(body).encode()
    server = Server(stub.url, "", ServerOptions())
    hypothesis = server.transcribe(clip)
    server.close()
    assert ("", expected) == (hypothesis.text, hypothesis.error)


def test_no_json_and_no_server_are_errors_too(stub: Stub, clip: Clip) -> None:
    """A page in place of JSON, or nobody listening, does not stop the run."""
    stub.body = b"<html>"
    server = Server(stub.url, "", ServerOptions())
    hypothesis = server.transcribe(clip)
    server.close()
    assert hypothesis.error is not None
    assert hypothesis.error.startswith("JSONDecodeError")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = Server(f"http://127.0.0.1:{free.getsockname()[1]}", "", ServerOptions())
        hypothesis = server.transcribe(clip)
        server.close()
    assert hypothesis.error is not None
    assert hypothesis.error.startswith("ConnectError")


def test_a_mode_makes_another_column() -> None:
    """Two modes of one server stand side by side."""
    names = []
    for mode in (None, "fast"):
        server = Server("http://127.0.0.1", "", ServerOptions(mode=mode))
        names.append(server.name)
        server.close()
    assert names == ["sussurro", "sussurro fast"]
