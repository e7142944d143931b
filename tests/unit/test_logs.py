"""What is logged, and what never is."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from server.observe import logs
from server.observe.logs import RequestRecord, describe


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the log goes; the root logger is put back afterwards."""
    handlers, level = logging.root.handlers, logging.root.level
    stream = io.StringIO()
    logs.configure("info", stream)
    yield stream
    logging.root.handlers, logging.root.level = handlers, level
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """The log's lines, without the time."""
    parsed = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [{k: v for k, v in line.items() if k != "time"} for line in parsed]


def test_a_request_is_one_line_of_what_is_known(stream: io.StringIO) -> None:
    """What never happened is left out; seconds have three digits."""
    RequestRecord("req_1", "GET", route="/", status=200).write(0.123456)

    assert [
        {
            "event": "request",
            "level": "info",
            "request_id": "req_1",
            "method": "GET",
            "route": "/",
            "status": 200,
            "upload_bytes": 0,
            "client_disconnected": False,
            "total_s": 0.123,
        }
    ] == lines(stream)


def test_the_real_time_factor_leaves_the_upload_out(stream: io.StringIO) -> None:
    """A slow client does not make the server look slow."""
    RequestRecord("r", "POST", status=200, upload_s=6.0, audio_s=10.0).write(8.0)

    assert 0.2 == lines(stream)[0]["rtf"]


def test_a_failed_request_has_no_real_time_factor(stream: io.StringIO) -> None:
    """Refusing is fast, and says nothing about transcribing."""
    RequestRecord("r", "POST", status=500, upload_s=1.0, audio_s=10.0).write(2.0)

    assert "rtf" not in lines(stream)[0]


def test_levels_below_the_threshold_are_not_written(stream: io.StringIO) -> None:
    """`info` leaves `debug` out."""
    structlog.get_logger().debug("hidden")
    structlog.get_logger().info("shown")

    assert ["shown"] == [line["event"] for line in lines(stream)]


def test_a_fault_is_described_without_its_message(stream: io.StringIO) -> None:
    """Messages of foreign exceptions quote what they choked on, so types and places must do."""
    try:
        try:
            {}["secret prompt"]
        except KeyError as error:
            raise ValueError("secret transcript") from error
    except ValueError:
        structlog.get_logger().exception("fault")

    (line,) = lines(stream)
    assert ["builtins.ValueError", "builtins.KeyError"] == [e["type"] for e in line["exception"]]
    assert "test_a_fault_is_described_without_its_message" in line["exception"][0]["at"][-1]
    assert "secret" not in stream.getvalue()


def test_an_errno_is_told(stream: io.StringIO) -> None:
    """`No space left` and `permission denied` differ only in this number."""
    structlog.get_logger().error("fault", exc_info=OSError(28, "No space", "/secret/path"))

    assert 28 == lines(stream)[0]["exception"][0]["errno"]
    assert "secret" not in stream.getvalue()


def test_the_members_of_a_group_are_described(stream: io.StringIO) -> None:
    """A task group's exception would hide what happened."""
    group = ExceptionGroup("both", [ValueError("a"), TypeError("b")])
    structlog.get_logger().error("fault", exc_info=group)

    kinds = [e["type"] for e in lines(stream)[0]["exception"]]
    assert ["builtins.ExceptionGroup", "builtins.ValueError", "builtins.TypeError"] == kinds


def test_only_the_innermost_frames_are_kept() -> None:
    """A runaway recursion does not fill the disk."""

    def deeper(depth: int) -> None:
        if not depth:
            raise ValueError
        deeper(depth - 1)

    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the type is all there is
        deeper(100)

    assert logs.MAX_FRAMES == len(describe(caught.value)["at"])


def test_libraries_log_through_us_without_their_arguments(stream: io.StringIO) -> None:
    """A library's warning is one JSON line; its arguments may hold what a caller sent."""
    logging.getLogger("uvicorn.error").warning("Bad thing: %s\nsecond line", "secret header")

    assert [
        {
            "event": "library",
            "level": "warning",
            "logger": "uvicorn.error",
            "message": "Bad thing: %s",
        }
    ] == lines(stream)


def test_libraries_chatter_is_left_out(stream: io.StringIO) -> None:
    """Below a warning, libraries repeat what our own lines say."""
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("uvicorn.access").warning('GET /?key=secret HTTP/1.1" 200')

    assert [] == lines(stream)


def test_a_librarys_exception_is_described(stream: io.StringIO) -> None:
    """Asyncio reports a forgotten task like this."""
    error = ValueError("secret")
    logging.getLogger("asyncio").error("Task exception was never retrieved", exc_info=error)

    assert ["builtins.ValueError"] == [e["type"] for e in lines(stream)[0]["exception"]]
    assert "secret" not in stream.getvalue()
