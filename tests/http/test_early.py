"""Answers that begin before they are known: white space, then the body or a cut connection."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from edge_bench import (
    FILE,
    FORM_TYPE,
    KEY,
    TRANSCRIPT,
    Bench,
    build,
    connected,
    eventually,
    form,
    head,
    read_response,
    serving,
)

from server import texts
from server.errors import EngineError, Overloaded, ServerError
from server.types import Audio, OnSegments, Segment, Transcript

AFTER, INTERVAL, LONG = 0.2, 0.05, 0.6


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Answers begin after 0.2 s."""
    return build(tmp_path, keepalive_after=AFTER, keepalive_interval=INTERVAL)


def let_go(bench: Bench, seconds: float = LONG) -> None:
    """Hold transcriptions for a while."""
    bench.transcriber.started.clear()
    bench.transcriber.hold = True

    def release() -> None:
        bench.transcriber.started.wait(5)
        time.sleep(seconds)
        bench.transcriber.hold = False

    threading.Thread(target=release).start()


def ask(port: int, response_format: str = "json", **fields: str) -> httpx.Response:
    """One transcription."""
    body = form(FILE, ("response_format", response_format), *fields.items())
    return httpx.post(
        f"http://127.0.0.1:{port}/v1/audio/transcriptions",
        content=body,
        headers={**FORM_TYPE, "Authorization": f"Bearer {KEY.key}"},
        timeout=10,
    )


def upload(response_format: str = "json") -> bytes:
    """The same as raw bytes."""
    body = form(FILE, ("response_format", response_format))
    return head(Content_Length=str(len(body))) + body


def only_line(bench: Bench) -> dict[str, Any]:
    """The request's log line; it is written when the client has long heard."""
    assert eventually(lambda: bench.lines() != [])
    (line,) = bench.lines()
    return line


def read_until(client: Any, end: bytes) -> bytes:
    """What comes, up to something."""
    data = b""
    while end not in data and (piece := client.recv(65536)):
        data += piece
    return data


@pytest.mark.parametrize("response_format", ["json", "verbose_json"])
def test_white_space_comes_before_json(bench: Bench, response_format: str) -> None:
    """200, chunked, then white space, then the very body of a quick answer."""
    with serving(bench) as (port, _):
        quick = ask(port, response_format)
        let_go(bench)
        slow = ask(port, response_format)

    assert (200, "chunked") == (slow.status_code, slow.headers["transfer-encoding"])
    assert ("application/json", "no") == (
        slow.headers["content-type"],
        slow.headers["x-accel-buffering"],
    )
    assert slow.headers["x-request-id"].startswith("req_")
    assert quick.json() == slow.json()
    filler = slow.content.removesuffix(quick.content)
    assert not filler.strip()
    assert 3 <= filler.count(b"\n") <= (LONG - AFTER) / INTERVAL + 1
    first, second = bench.lines()
    assert "early_s" not in first
    assert (200, 1) == (second["status"], round(second["early_s"] / AFTER))


def test_the_first_byte_comes_in_time(bench: Bench) -> None:
    """Not before the time that is set, and not much after it."""
    let_go(bench)
    with serving(bench) as (port, _), connected(port) as client:
        client.sendall(upload())
        started = time.monotonic()
        assert client.recv(9) == b"HTTP/1.1 "
        assert AFTER <= time.monotonic() - started < AFTER + 0.3


def test_waiting_for_a_place_counts(tmp_path: Path) -> None:
    """The client has long sent all of its small upload: to it, that time was silent, too."""
    wait = 0.5
    bench = build(tmp_path, keepalive_after=wait + 0.1, max_requests=1, max_queue_wait=5)
    bench.transcriber.hold = True
    with serving(bench) as (port, _), connected(port) as first, connected(port) as second:
        first.sendall(upload())
        assert bench.transcriber.started.wait(5)
        second.sendall(upload())
        time.sleep(wait)
        bench.transcriber.hold = False
        assert 200 == read_response(first)[0]
        bench.transcriber.hold = True
        started = time.monotonic()
        read_until(second, b" \n")
        assert time.monotonic() - started < wait


def test_the_connection_serves_on_after_an_early_answer(bench: Bench) -> None:
    """Its end is a regular one."""
    let_go(bench)
    with serving(bench) as (port, _), connected(port) as client:
        client.sendall(upload())
        assert read_until(client, b"\r\n0\r\n\r\n").startswith(b"HTTP/1.1 200")
        client.sendall(head("GET", "/healthz"))
        assert 200 == read_response(client)[0]


def test_a_failure_that_is_early_has_its_own_status(bench: Bench) -> None:
    """Until the answer begins nothing is lost."""
    bench.transcriber.error = Overloaded(texts.NO_DISK, retry_after=7)
    let_go(bench, AFTER / 4)
    with serving(bench) as (port, _):
        answer = ask(port)
    assert (503, "7") == (answer.status_code, answer.headers["retry-after"])
    assert "overloaded" == answer.json()["error"]["code"]


@pytest.mark.parametrize("response_format", ["json", "verbose_json", "vtt"])
def test_a_failure_that_is_late_cuts_the_connection(bench: Bench, response_format: str) -> None:
    """Nobody may take an error for a transcription; the log line has the failure's status."""
    bench.transcriber.error = Overloaded(texts.NO_DISK)
    let_go(bench)
    with (
        serving(bench) as (port, _),
        pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"),
    ):
        ask(port, response_format)
    line = only_line(bench)
    assert (503, "overloaded", True) == (line["status"], line["error"], line["aborted"])
    assert not line["client_disconnected"]
    assert 0 == bench.admission.active
    assert [] == bench.lines("fault") + bench.lines("library")


def test_a_late_failure_breaks_a_connection_whose_end_would_look_well(bench: Bench) -> None:
    """HTTP/1.0 has no chunks: there the end of the connection is the end of the body."""
    bench.transcriber.error = EngineError("Broken.")
    let_go(bench)
    with serving(bench) as (port, _), connected(port) as client:
        client.sendall(upload().replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\n", 1))
        with pytest.raises(ConnectionResetError):
            read_until(client, b"never")
    assert only_line(bench)["aborted"]


def test_openais_sdk_waits_and_reads(bench: Bench) -> None:
    """With a timeout of its own that is shorter than the wait: each byte starts it anew."""
    let_go(bench)
    with (
        serving(bench) as (port, _),
        openai.OpenAI(
            api_key=KEY.key, base_url=f"http://127.0.0.1:{port}/v1", max_retries=0, timeout=0.4
        ) as sdk,
    ):
        answer = sdk.audio.transcriptions.create(file=b"x", model="whisper-1")
    assert "Olá, mundo. Tudo bem?" == answer.text


def test_openais_sdk_reports_a_late_failure(bench: Bench) -> None:
    """As a connection error, never as an empty transcription."""
    bench.transcriber.error = Overloaded(texts.NO_DISK)
    let_go(bench)
    with (
        serving(bench) as (port, _),
        openai.OpenAI(
            api_key=KEY.key, base_url=f"http://127.0.0.1:{port}/v1", max_retries=0
        ) as sdk,
        pytest.raises(openai.APIConnectionError),
    ):
        sdk.audio.transcriptions.create(file=b"x", model="whisper-1")


def test_a_client_that_leaves_meanwhile_cancels_its_work(bench: Bench) -> None:
    """White space is sent to somebody, or not at all."""
    bench.transcriber.hold = True
    with serving(bench) as (port, _):
        with connected(port) as client:
            client.sendall(upload())
            read_until(client, b" \n")
        assert bench.transcriber.cancelled.wait(5)
        line = only_line(bench)
    assert (499, True) == (line["status"], line["client_disconnected"])
    assert 0 == bench.admission.active
    assert [] == bench.lines("fault") + bench.lines("library")


def test_subtitles_for_the_web_begin_with_their_header(bench: Bench) -> None:
    """Any number of blank lines may follow it; what follows them is the quick answer's."""
    with serving(bench) as (port, _):
        quick = ask(port, "vtt").text
        let_go(bench)
        slow = ask(port, "vtt")
    assert "text/vtt; charset=utf-8" == slow.headers["content-type"]
    start, cues = quick[:8], quick[8:]
    assert slow.text.startswith(start + "\n\n")
    assert cues == slow.text[8:].lstrip("\n")


@pytest.mark.parametrize(("error", "status"), [(None, 200), (Overloaded(texts.NO_DISK), 503)])
def test_subrip_waits_in_silence(bench: Bench, error: ServerError | None, status: int) -> None:
    """Nothing may stand before its first cue; so its failures always have a status."""
    bench.transcriber.error = error
    let_go(bench)
    with serving(bench) as (port, _), connected(port) as client:
        client.sendall(upload("srt"))
        client.settimeout(LONG / 2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(5)
        assert status == read_response(client)[0]


def telling(bench: Bench, pieces: Sequence[Sequence[Segment]], pause: float) -> None:
    """Have segments told one after the other, before the transcript."""
    transcribe: Callable[..., Any] = bench.transcriber.transcribe

    async def tell(audio: Audio, options: object, **others: Any) -> Transcript:
        on_segments: OnSegments = others["on_segments"]
        for piece in pieces:
            on_segments(piece)
            await asyncio.sleep(pause)
        return await transcribe(audio, options, **others)

    bench.transcriber.transcribe = tell  # type: ignore[method-assign]


def test_a_text_begins_with_what_is_known(bench: Bench) -> None:
    """Nothing of it is lost, or there twice."""
    with serving(bench) as (port, _):
        quick = ask(port, "text")
        telling(bench, [[each] for each in TRANSCRIPT.segments], LONG / 2)
        with connected(port) as client:
            client.sendall(upload("text"))
            first = read_until(client, "Olá, mundo.".encode())
            rest = read_until(client, b"\r\n0\r\n\r\n")
        slow = ask(port, "text")
    assert b"200 OK" in first
    assert b"Tudo bem?" not in first
    assert b" Tudo bem?" in rest
    assert quick.text == slow.text == "Olá, mundo. Tudo bem?\n"
    assert "chunked" == slow.headers["transfer-encoding"]


def test_a_warning_is_in_an_early_answer_too(bench: Bench) -> None:
    """It is known when the audio is."""
    with serving(bench) as (port, _):
        bench.loader.warnings = ("audio_truncated",)
        let_go(bench)
        assert "audio_truncated" == ask(port).headers["x-sussurro-warning"]


def test_a_stop_cuts_an_answer_that_has_begun(tmp_path: Path) -> None:
    """What does not end in time cannot be told any more."""
    bench = build(tmp_path, keepalive_after=AFTER, keepalive_interval=INTERVAL, drain_timeout=LONG)
    bench.transcriber.hold = True
    with serving(bench) as (port, listener), connected(port) as client:
        client.sendall(upload())
        read_until(client, b" \n")
        listener.should_exit = True
        data = read_until(client, b"never")
    assert not data.strip(b"\r\n2 ")
    line = only_line(bench)
    assert (503, "draining", True) == (line["status"], line["error"], line["aborted"])


def test_a_json_body_may_have_any_white_space_before_it() -> None:
    """The base of it all: RFC 8259 allows it before a value."""
    assert {"text": ""} == json.loads(b" \n" * 240 + b'{"text": ""}')
