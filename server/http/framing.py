"""What counts as one HTTP/1.1 request: stricter than h11, so that nobody in front can disagree.

Knows: request heads as bytes, chunked framing, how much of either is sensible.
Must not know: sockets, time, routes.
"""

import re
from typing import Any

import h11

MAX_HEAD_BYTES = 16 * 1024
"""h11's own default: a head that has not ended by then is refused; so is a chunk's or a trailer."""

MAX_HEADERS = 100
"""Header lines; browsers and proxies together send some thirty."""

FRAMING_BYTES = 16 * 1024
"""Bytes of chunked framing (sizes, extensions, trailers) that any body may have."""

FRAMING_SHARE = 8
"""Beyond them at most one byte of framing for so many of data: chunks of 48 bytes and more."""

_HEAD_END = re.compile(rb"\n\r?\n")
_LAX = re.compile(rb"(?<!\r)\n|\r(?!\n)|\n[ \t]|\0")
_LENGTH = re.compile(rb"\ncontent-length[ \t]*:([^\r\n]*)", re.IGNORECASE)


class StrictConnection(h11.Connection):
    """Refuses what two readers could take for different requests, the base of smuggling.

    Beside what h11 refuses: Content-Length beside Transfer-Encoding, which h11 would follow, or
    twice, even if equal; Transfer-Encoding in HTTP/1.0 (RFC 9112, 6.1 and 6.3); lines that end
    in a bare LF or hold a bare CR (2.2); folded lines (5.2); too many headers; versions that h11
    takes for any digit. And, as work that
    carries nothing: a body of tiny chunks, or of chunk extensions.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)
        self._wire = 0
        self._data = 0

    def receive_data(self, data: bytes) -> None:
        """As h11's; counts what a body takes on the wire."""
        self._wire += len(data)
        super().receive_data(data)

    def next_event(self) -> Any:  # noqa: ANN401 - h11 names no common type
        """As h11's.

        Raises:
            RemoteProtocolError: what arrived cannot be served.
        """
        if self.their_state is h11.IDLE:
            _check_head(bytes(self._receive_buffer))
        event = super().next_event()
        if isinstance(event, h11.Request):
            _check_request(event)
            self._wire, self._data = len(self._receive_buffer), 0
        elif isinstance(event, h11.Data):
            self._data += len(event.data)
        if self.their_state is h11.SEND_BODY:
            self._check_framing()
        return event

    def _check_framing(self) -> None:
        framing = self._wire - self._data - len(self._receive_buffer)
        if framing > FRAMING_BYTES + self._data // FRAMING_SHARE:
            raise h11.RemoteProtocolError("hardly anything but framing")


def _check_head(received: bytes) -> None:
    """The bytes of a head, which h11 reads more leniently than they should be written.

    h11 looks at their number only while the head has not ended.
    """
    end = _HEAD_END.search(received)
    if end is None:
        return
    head = received[: end.end()]
    lengths = _LENGTH.findall(head)
    if (
        len(head) > MAX_HEAD_BYTES
        or head.count(b"\n") > MAX_HEADERS + 2  # the request line and the empty one
        or _LAX.search(head)
        or len(lengths) > 1
        or any(b"," in length for length in lengths)
    ):
        raise h11.RemoteProtocolError("the head is not as it should be")


def _check_request(request: h11.Request) -> None:
    if request.http_version not in (b"1.0", b"1.1"):
        raise h11.RemoteProtocolError("another version of HTTP")
    names = {name for name, _ in request.headers}
    if b"transfer-encoding" in names and (
        b"content-length" in names or request.http_version != b"1.1"
    ):
        raise h11.RemoteProtocolError("Transfer-Encoding beside another length")
