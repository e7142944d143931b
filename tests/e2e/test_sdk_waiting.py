"""OpenAI's Python SDK when things take time or go wrong: retries, timeouts, odd and huge files."""

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest
from server_process import KEY, Process, Start, noise

UPLOAD = ("n.wav", noise(1.0))


@contextmanager
def sdk(server: Process, **options: object) -> Iterator[openai.OpenAI]:
    """A client that tries twice more, as is its default."""
    with openai.OpenAI(api_key=KEY.key, base_url=f"{server.url}/v1", **options) as client:  # type: ignore[arg-type]
        yield client


def test_it_comes_back_when_retry_after_says(start: Start, tmp_path: Path) -> None:
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
    with sdk(server, max_retries=5) as client, ThreadPoolExecutor(2) as pool:
        wanted = {"file": UPLOAD, "model": "whisper-1"}
        first = pool.submit(client.audio.transcriptions.create, **wanted)  # type: ignore[arg-type]
        while not begun.exists():
            time.sleep(0.01)
        started = time.monotonic()
        second = pool.submit(client.audio.transcriptions.create, **wanted)  # type: ignore[arg-type]
        refused = server.line("request")
        hold.unlink()
        answers = [first.result(), second.result()]
        took = time.monotonic() - started

    assert all("Bom dia." in answer.text for answer in answers)
    assert 503 == refused["status"]
    assert {200, 503} == set(server.statuses(3))
    assert took > 1  # Retry-After's least


@pytest.mark.parametrize(
    ("broken", "file", "error", "expected"),
    [
        ("0", UPLOAD, openai.InternalServerError, [500, 500, 500]),
        (None, ("n.wav", b""), openai.BadRequestError, [400]),
        (None, ("n.wav", b"no sound"), openai.BadRequestError, [400]),
    ],
    ids=["a fault", "an empty file", "no audio"],
)
def test_only_what_may_go_away_is_tried_again(
    start: Start,
    tmp_path: Path,
    broken: str | None,
    file: tuple[str, bytes],
    error: type[openai.APIStatusError],
    expected: list[int],
) -> None:
    """Twice more after a fault of the server, never after a request that stays wrong."""
    how = tmp_path / "broken"
    server = start(FAKE_BROKEN=str(how)).ready()
    if broken is not None:
        how.write_text(broken)
    with sdk(server) as client, pytest.raises(error) as caught:
        client.audio.transcriptions.create(file=file, model="whisper-1")

    assert expected == server.statuses(len(expected))
    assert caught.value.message.count(str(caught.value.body["message"]))  # type: ignore[index]
    assert server.has_logged(caught.value.request_id)


def test_a_client_that_gives_up_costs_nothing(start: Start) -> None:
    """Its own timeout; each try is cancelled in the server, and the next client has the place."""
    server = start(FAKE_WINDOW_SECONDS="1.5", SUSSURRO_MAX_REQUESTS="1").ready()
    with sdk(server, timeout=0.5, max_retries=1) as client:
        with pytest.raises(openai.APITimeoutError):
            client.audio.transcriptions.create(file=UPLOAD, model="whisper-1")
        patient = client.with_options(timeout=20)
        answer = patient.audio.transcriptions.create(file=UPLOAD, model="whisper-1")

    assert "Bom dia." in answer.text
    assert [499, 499, 200] == server.statuses(3)


def test_a_silence_is_broken_before_the_client_gives_up(start: Start) -> None:
    """The SDK's timeout is between two bytes: white space keeps it waiting for the text."""
    server = start(
        FAKE_WINDOW_SECONDS="3", SUSSURRO_KEEPALIVE_AFTER="0.3", SUSSURRO_KEEPALIVE_INTERVAL="0.3"
    ).ready()
    with sdk(server, timeout=2.0, max_retries=0) as client:
        answer = client.audio.transcriptions.create(file=UPLOAD, model="whisper-1")

    assert "Bom dia." in answer.text


class Pipe(io.RawIOBase):
    """Bytes of which nobody knows how many will come."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._data.readinto(buffer)


def test_a_file_of_unknown_length(start: Start) -> None:
    """It comes chunked."""
    server = start().ready()
    with sdk(server) as client:
        answer = client.audio.transcriptions.create(
            file=("n.wav", io.BufferedReader(Pipe(UPLOAD[1]))), model="whisper-1"
        )

    assert "Bom dia." in answer.text


def test_a_huge_file_is_told_so(start: Start) -> None:
    """60 MB against a limit of 1 MB: the message arrives, not a broken connection."""
    server = start(SUSSURRO_MAX_UPLOAD_BYTES="1000000").ready()
    with sdk(server, max_retries=0) as client, pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(file=("n.wav", bytes(60_000_000)), model="whisper-1")

    assert (413, "upload_too_large") == (caught.value.status_code, caught.value.code)
    assert "1000000" in caught.value.message
