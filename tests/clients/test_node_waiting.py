"""OpenAI's SDK for Node when things take time or go wrong: retries, timeouts, huge files."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from node_sdk import Node
from server_process import Start, noise


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """A second of noise."""
    path = tmp_path / "n.wav"
    path.write_bytes(noise(1.0))
    return path


def test_it_comes_back_when_retry_after_says(
    start: Start, node: Node, wav: Path, tmp_path: Path
) -> None:
    """A full server refuses, the SDK waits as long as it was told, and has its text."""
    begun, hold = tmp_path / "begun", tmp_path / "hold"
    server = start(
        SUSSURRO_MAX_REQUESTS="1",
        SUSSURRO_MAX_QUEUE_WAIT="0",
        FAKE_BEGUN=str(begun),
        FAKE_HOLD=str(hold),
    ).ready()
    begun.unlink()  # the trial at the start has made it
    hold.touch()
    options = {"file": wav, "send_as": "bytes", "name": "n.wav", "client": {"maxRetries": 5}}
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(node, server.url, file=wav)
        while not begun.exists():
            time.sleep(0.01)
        second = pool.submit(node, server.url, **options)
        refused = server.line("request")
        hold.unlink()
        answers = [first.result(), second.result()]

    assert all("Bom dia." in answer["result"]["text"] for answer in answers)
    assert 503 == refused["status"]
    assert {200, 503} == set(server.statuses(3))


@pytest.mark.parametrize(
    ("broken", "content", "shown", "expected"),
    [
        ("0", None, "InternalServerError", [500, 500, 500]),
        (None, b"", "BadRequestError", [400]),
        (None, b"no sound", "BadRequestError", [400]),
    ],
    ids=["a fault", "an empty file", "no audio"],
)
def test_only_what_may_go_away_is_tried_again(
    start: Start,
    node: Node,
    wav: Path,
    tmp_path: Path,
    broken: str | None,
    content: bytes | None,
    shown: str,
    expected: list[int],
) -> None:
    """Twice more after a fault of the server, never after a request that stays wrong."""
    how = tmp_path / "broken"
    server = start(FAKE_BROKEN=str(how)).ready()
    if broken is not None:
        how.write_text(broken)
    if content is not None:
        wav.write_bytes(content)
    error = node(server.url, file=wav, send_as="file", name="n.wav", client={"maxRetries": 2})[
        "error"
    ]

    assert shown == error["class"]
    assert expected == server.statuses(len(expected))
    assert server.has_logged(error["requestID"])


def test_a_stream_is_never_sent_twice(start: Start, node: Node, wav: Path, tmp_path: Path) -> None:
    """The SDK cannot rewind one; the first failure is told."""
    how = tmp_path / "broken"
    server = start(FAKE_BROKEN=str(how)).ready()
    how.write_text("0")
    error = node(server.url, file=wav, client={"maxRetries": 2})["error"]

    assert ("InternalServerError", "engine_error") == (error["class"], error["code"])
    assert [500] == server.statuses(1)


def test_a_client_that_gives_up_costs_nothing(start: Start, node: Node, wav: Path) -> None:
    """Its own timeout; the try is cancelled in the server, and the next client has the place."""
    server = start(FAKE_WINDOW_SECONDS="2", SUSSURRO_MAX_REQUESTS="1").ready()
    error = node(server.url, file=wav, client={"timeout": 1000})["error"]
    answer = node(server.url, file=wav)

    assert "APIConnectionTimeoutError" == error["class"]
    assert "Bom dia." in answer["result"]["text"]
    assert [499, 200] == server.statuses(2)


def test_a_huge_file_is_told_so(start: Start, node: Node, wav: Path) -> None:
    """60 MB, chunked, against a limit of 1 MB: the message arrives, not a broken connection."""
    server = start(SUSSURRO_MAX_UPLOAD_BYTES="1000000").ready()
    wav.write_bytes(bytes(60_000_000))
    error = node(server.url, file=wav)["error"]

    assert (413, "upload_too_large") == (error["status"], error["code"])
    assert "1000000" in error["message"]
