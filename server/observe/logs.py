"""JSON lines on stdout: one canonical line a request, and the server's own life.

Knows: structlog, the fields of a request's line, how a fault is written down.
Must not know: HTTP, keys, transcripts. Whatever a caller sends (prompt, file name, query, header)
must not get here: faults are written as types and code locations, never with their messages.
"""

import contextlib
import ipaddress
import logging
import sys
import traceback
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import structlog

LogLevel = Literal["debug", "info", "warning", "error"]
MAX_FRAMES = 30
"""Innermost frames of a fault that are kept."""

_QUIET = ("uvicorn.access", "httpx")


@dataclass(slots=True)
class RequestRecord:
    """One request's line in the making; whoever learns something writes it here.

    Seconds throughout. `route` is the template, never the path that was sent. `rtf` is the time
    from the end of the upload to the answer, by second of audio.
    """

    request_id: str
    method: str
    key_id: str | None = None
    client_address: str | None = None
    route: str | None = None
    status: int | None = None
    error: str | None = None
    reason: str | None = None
    upload_bytes: int = 0
    upload_s: float | None = None
    load_s: float | None = None
    wait_s: float | None = None
    audio_s: float | None = None
    windows: int | None = None
    fallbacks: int | None = None
    dropped: int | None = None
    queue_s: float | None = None
    compute_s: float | None = None
    batch: float | None = None
    calls: int | None = None
    format_s: float | None = None
    rtf: float | None = None
    engine: str | None = None
    model: str | None = None
    task: str | None = None
    response_format: str | None = None
    job: str | None = None
    stream: bool | None = None
    early_s: float | None = None
    aborted: bool | None = None
    client_disconnected: bool = False
    total_s: float | None = None

    def refused(self, code: str | None, reason: str | None) -> None:
        """The answer is an error; both are codes of ours, never a caller's words."""
        self.error, self.reason = code, reason

    def came_from(self, address: str) -> None:
        """Where a caller without a good key is; others are known by their key.

        Not a loopback address: it says nothing, and some shippers drop every line with one.
        """
        with contextlib.suppress(ValueError):
            if not ipaddress.ip_address(address).is_loopback:
                self.client_address = address

    def write(self, total_s: float) -> None:
        """Write the line; what never happened is left out."""
        self.total_s = total_s
        if self.audio_s and self.upload_s is not None and self.status == 200:
            self.rtf = (total_s - self.upload_s) / self.audio_s
        fields = {k: _rounded(v) for k, v in asdict(self).items() if v is not None}
        structlog.get_logger().info("request", **fields)


def configure(level: LogLevel, stream: TextIO | None = None) -> None:
    """Send structlog and the standard library's logging to `stream` (stdout) as JSON lines."""
    threshold = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _describe_fault,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stdout),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_Forward()]
    root.setLevel(max(threshold, logging.WARNING))
    for name in _QUIET:
        logging.getLogger(name).disabled = True


class _Forward(logging.Handler):
    """Libraries' own log records, as lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the template's first line: its arguments may hold what a caller sent."""
        message = str(record.msg).partition("\n")[0][:200]
        structlog.get_logger().log(
            record.levelno,
            "library",
            logger=record.name,
            message=message,
            exc_info=record.exc_info,
        )


def _describe_fault(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace `exc_info` by the chain of exception types and the frames that raised them."""
    fault = event.pop("exc_info", None)
    if fault is True:
        fault = sys.exc_info()
    error = fault[1] if isinstance(fault, tuple) else fault
    if isinstance(error, BaseException):
        event["exception"] = [describe(e) for e in _chain(error)]
    return event


def describe(error: BaseException) -> dict[str, Any]:
    """An exception's type and frames, innermost last; its message may quote the caller."""
    frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
    places = [f"{'/'.join(Path(f.filename).parts[-3:])}:{f.lineno} {f.name}" for f in frames]
    kind = type(error)
    described: dict[str, Any] = {"type": f"{kind.__module__}.{kind.__qualname__}", "at": places}
    if isinstance(error, OSError) and error.errno is not None:
        described["errno"] = error.errno
    return described


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and its causes, outermost first."""
    chain: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and seen not in chain:
        chain.append(seen)
        if isinstance(seen, BaseExceptionGroup):
            chain += [e for e in seen.exceptions if e not in chain]
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return chain


def _rounded(value: object) -> object:
    """Seconds to the millisecond: more digits are noise."""
    return round(value, 3) if isinstance(value, float) else value
