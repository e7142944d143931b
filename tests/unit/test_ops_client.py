"""The demo's client: what it says when the server does not answer well."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ops.client import Client, ClientError


class Answering(BaseHTTPRequestHandler):
    """Gives the prepared answer, or hangs up."""

    def do_POST(self) -> None:
        """Read everything, then answer."""
        self.server.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.key = self.headers["Authorization"]
        status, text = self.server.answer
        if status:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """A server that answers 200 `{}` unless told otherwise."""
    running = HTTPServer(("127.0.0.1", 0), Answering)
    running.answer = (200, "{}")
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def client(server: HTTPServer) -> Client:
    """A client of that server."""
    return Client(f"http://127.0.0.1:{server.server_port}", "wsk_secret")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A file with a name that would break a careless header."""
    path = tmp_path / 'a "quoted"\nname.ogg'
    path.write_bytes(b"OggS\r\n--not-the-boundary")
    return path


def test_the_form_holds_the_file_unchanged(client: Client, server: HTTPServer, clip: Path) -> None:
    """Bytes, fields and key arrive; the name cannot break out of its header."""
    client.transcribe(clip, "srt")
    assert b"\r\n\r\nOggS\r\n--not-the-boundary\r\n--" in server.body
    assert b'name="response_format"\r\n\r\nsrt\r\n' in server.body
    assert b'filename="a _quoted__name.ogg"\r\n' in server.body
    assert "Bearer wsk_secret" == server.key


@pytest.mark.parametrize(
    ("status", "text", "message", "refused"),
    [
        (400, '{"error": {"message": "no audio"}}', "answered 400: no audio", True),
        (500, '{"error": {"message": "oh"}}', "answered 500: oh", False),
        (502, "<html>bad gateway</html>", "answered 502: <html>bad gateway</html>", False),
        (0, "", "the server went away", False),
    ],
)
def test_failures_are_told_in_the_servers_words(
    client: Client,
    server: HTTPServer,
    clip: Path,
    status: int,
    text: str,
    message: str,
    refused: bool,
) -> None:
    """OpenAI's error body, any other body, or a closed connection; 4xx is our own fault."""
    server.answer = (status, text)
    with pytest.raises(ClientError, match=message) as caught:
        client.transcribe(clip, "json")
    assert refused is caught.value.refused
