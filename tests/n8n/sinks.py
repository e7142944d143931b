"""Where workflows deliver in a test: a mail server and a chat's webhook, both on this machine.

Knows: as much of SMTP and HTTP as their clients in n8n need.
Must not know: what is delivered.
"""

import email
import email.policy
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any


class _Smtp(socketserver.StreamRequestHandler):
    """RFC 5321, the part that a client needs to hand one message over."""

    def handle(self) -> None:
        self._say("220 sink")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self._say("354 go on")
                self.server.received.put(self._message())  # type: ignore[attr-defined]
            self._say("250 ok" if verb != b"QUIT" else "221 bye")
            if verb == b"QUIT":
                return

    def _say(self, reply: str) -> None:
        self.wfile.write(f"{reply}\r\n".encode())

    def _message(self) -> EmailMessage:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        message = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        return message


class _Chat(BaseHTTPRequestHandler):
    """A webhook that takes JSON."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.put(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing to say."""


@contextmanager
def _listening(server: socketserver.TCPServer) -> Iterator[tuple[int, Queue[Any]]]:
    received = server.received = Queue()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def mail_server() -> Iterator[tuple[int, Queue[EmailMessage]]]:
    """(port, what was sent)."""
    with _listening(socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Smtp)) as sink:
        yield sink


@contextmanager
def chat() -> Iterator[tuple[int, Queue[Any]]]:
    """(port, what was posted)."""
    with _listening(ThreadingHTTPServer(("127.0.0.1", 0), _Chat)) as sink:
        yield sink
