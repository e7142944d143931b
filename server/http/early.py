"""How an answer may begin before it is known, by format.

Knows: what a body may begin with that means nothing: white space, blank lines, comments.
Must not know: how or when it is sent.
"""

from collections.abc import Callable
from dataclasses import dataclass

from server.formats import PLAIN, VTT, VTT_HEADER, ResponseFormat
from server.http import events


@dataclass(frozen=True, slots=True)
class Early:
    """How an answer begins before it is known.

    `head` comes first and is the beginning of every good body; `filler` follows whenever nothing
    else was sent for `interval` seconds, for the first time after `after`. With `hold` nothing
    at all is sent before that, so that failures have a status of their own. `failure` makes the
    answer's end of an error's body; without it a failure cuts the connection.
    """

    content_type: str
    filler: bytes
    after: float
    interval: float
    head: bytes = b""
    hold: bool = True
    failure: Callable[[bytes], bytes] | None = None


def early(response_format: ResponseFormat, *, stream: bool, after: float, interval: float) -> Early:
    """What this answer may begin with.

    White space may stand before JSON, blank lines after the header of WebVTT. A text has nothing
    that could be ignored, but its own beginning. An srt file has neither: its cues are cut when
    the whole is known.
    """
    if stream:
        return Early(
            events.CONTENT_TYPE,
            events.COMMENT,
            interval,
            interval,
            hold=False,
            failure=events.event,
        )
    if response_format in ("json", "verbose_json"):
        return Early("application/json", b" \n", after, interval)
    if response_format == "vtt":
        return Early(VTT, b"\n", after, interval, head=VTT_HEADER)
    return Early(PLAIN, b"", after, interval)
