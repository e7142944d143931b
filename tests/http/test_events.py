"""`stream=true`: the text as server-sent events, on a real socket."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import openai_schemas as theirs
import pytest
from edge_bench import (
    FILE,
    FORM_TYPE,
    KEY,
    TRANSCRIPT,
    Bench,
    build,
    connected,
    error_of,
    eventually,
    form,
    head,
    serving,
)
from jsonschema import Draft202012Validator

from server import texts
from server.errors import BadAudio, EngineError, InternalError, Overloaded, ServerError
from server.types import Audio, Transcript

QUIET = 0.1
PAUSE = 0.25
BODY = form(FILE, ("stream", "true"))
UPLOAD = head(Content_Length=str(len(BODY))) + BODY


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Tells two segments with pauses before each and at the end."""
    bench = build(tmp_path, keepalive_after=60, keepalive_interval=QUIET)
    transcribe: Callable[..., Any] = bench.transcriber.transcribe

    async def tell(audio: Audio, options: object, **others: Any) -> Transcript:
        for segment in TRANSCRIPT.segments:
            await asyncio.sleep(bench.transcriber.pause)
            if on_segments := others["on_segments"]:  # else there is no stream
                on_segments([segment])
        await asyncio.sleep(bench.transcriber.pause)
        transcript: Transcript = await transcribe(audio, options, **others)
        return transcript

    bench.transcriber.transcribe = tell  # type: ignore[method-assign]
    return bench


@pytest.fixture
def port(bench: Bench) -> Iterator[int]:
    """Served on a socket."""
    with serving(bench) as (port, _):
        yield port


def ask(port: int, content: bytes = BODY) -> httpx.Response:
    """One transcription, read to its end."""
    headers = {**FORM_TYPE, "Authorization": f"Bearer {KEY.key}"}
    url = f"http://127.0.0.1:{port}/v1/audio/transcriptions"
    return httpx.post(url, content=content, headers=headers, timeout=10)


def events(text: str) -> list[dict[str, Any]]:
    """The events of a stream; comments are left out, and there is nothing else."""
    blocks = text.split("\n\n")
    assert "" == blocks.pop()
    assert all(block == ": keep-alive" or block.startswith("data: {") for block in blocks)
    return [json.loads(block[6:]) for block in blocks if block.startswith("data: ")]


@pytest.mark.parametrize("response_format", ["json", "text"])
def test_deltas_then_the_whole(port: int, bench: Bench, response_format: str) -> None:
    """OpenAI's names and payloads; the deltas are the text, and the last event has it again."""
    answer = ask(port, form(FILE, ("stream", "true"), ("response_format", response_format)))

    assert 200 == answer.status_code
    assert ("text/event-stream", "no-store", "no") == tuple(
        answer.headers[name] for name in ("content-type", "cache-control", "x-accel-buffering")
    )
    *deltas, done = events(answer.text)
    assert [
        {"type": "transcript.text.delta", "delta": "Olá, mundo."},
        {"type": "transcript.text.delta", "delta": " Tudo bem?"},
    ] == deltas
    assert ("transcript.text.done", "Olá, mundo. Tudo bem?") == (done["type"], done["text"])
    assert {
        "type": "tokens",
        "input_tokens": 163,
        "output_tokens": 4,
        "total_tokens": 167,
        "input_token_details": {"audio_tokens": 163, "text_tokens": 0},
    } == done["usage"]
    assert eventually(lambda: bench.lines() != [])
    (line,) = bench.lines()
    assert (200, True) == (line["status"], line["stream"])


def test_tokens_come_with_their_text(port: int) -> None:
    """Those of each delta, and all of them at the end; their bytes are the text."""
    answer = ask(port, form(FILE, ("stream", "true"), ("include[]", "logprobs")))
    *deltas, done = events(answer.text)

    Draft202012Validator(theirs.DONE).validate(done)
    for event in deltas:
        Draft202012Validator(theirs.DELTA).validate(event)
        said = b"".join(bytes(token["bytes"]) for token in event["logprobs"])
        assert event["delta"].encode() == said
    assert [token for event in deltas for token in event["logprobs"]] == done["logprobs"]
    assert {"token": "Olá", "logprob": -0.105361, "bytes": [79, 108, 195, 161]} == (
        done["logprobs"][0]
    )


def test_the_last_event_has_the_other_formats(port: int) -> None:
    """Byte by byte what requests for them get: one run is enough for all files."""
    names = ("srt", "text", "verbose_json", "vtt")
    fields = [("x_formats[]", name) for name in names]
    done = events(ask(port, form(FILE, ("stream", "true"), *fields)).text)[-1]

    assert [*names] == [*done["x_formats"]]
    for name, body in done["x_formats"].items():
        assert ask(port, form(FILE, ("response_format", name))).text == body


def test_each_delta_is_sent_when_it_is_known(port: int, bench: Bench) -> None:
    """Not at the end, all at once."""
    bench.transcriber.pause = PAUSE
    with connected(port) as client:
        client.sendall(UPLOAD)
        data = b""
        while b"mundo" not in data:
            data += client.recv(65536)
        assert b"Tudo" not in data
        assert not bench.transcriber.started.is_set()


def test_comments_fill_the_pauses(port: int, bench: Bench) -> None:
    """Two in each pause of two and a half times the longest silence; they say nothing."""
    bench.transcriber.pause = PAUSE
    text = ask(port).text

    comments = [block.count(": keep-alive") for block in text.split("data: ")]
    assert [2, 2, 2, 0] == comments
    assert "Olá, mundo. Tudo bem?" == events(text)[-1]["text"]


def test_openais_sdk_reads_the_stream(port: int, bench: Bench) -> None:
    """Typed events, through comments."""
    bench.transcriber.pause = PAUSE
    with sdk(port) as client:
        stream = client.audio.transcriptions.create(file=b"x", model="whisper-1", stream=True)
        found = list(stream)

    assert ["TranscriptionTextDeltaEvent"] * 2 + ["TranscriptionTextDoneEvent"] == [
        type(event).__name__ for event in found
    ]
    *deltas, done = found
    assert "".join(event.delta for event in deltas) == done.text == "Olá, mundo. Tudo bem?"
    assert 167 == done.usage.total_tokens


def sdk(port: int) -> openai.OpenAI:
    """OpenAI's client without retries."""
    return openai.OpenAI(
        api_key=KEY.key, base_url=f"http://127.0.0.1:{port}/v1", max_retries=0, timeout=10
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Overloaded(texts.NO_DISK), texts.NO_DISK.en),
        (EngineError("Broken."), texts.ENGINE_FAILED.en),
        (RuntimeError("secret"), "The server failed"),
    ],
)
def test_a_failure_in_the_middle_is_an_event(
    port: int, bench: Bench, error: Exception, message: str
) -> None:
    """OpenAI's SDK raises it with our message and code; the stream ends as it should."""
    bench.transcriber.error = error
    with sdk(port) as client:
        stream = client.audio.transcriptions.create(file=b"x", model="whisper-1", stream=True)
        told = [next(stream), next(stream)]
        with pytest.raises(openai.APIError) as caught:
            next(stream)

    assert ["Olá, mundo.", " Tudo bem?"] == [event.delta for event in told]
    assert message in caught.value.message
    expected = error if isinstance(error, ServerError) else InternalError("")
    assert expected.code == caught.value.code
    assert eventually(lambda: bench.lines() != [])
    (line,) = bench.lines()
    assert (expected.status, expected.code) == (line["status"], line["error"])
    assert "aborted" not in line


def test_a_failure_before_the_first_event_has_its_own_status(port: int, bench: Bench) -> None:
    """A file that is no audio is a plain 400."""
    bench.loader.error = BadAudio(texts.NOT_MEDIA, param="file")
    answer = ask(port)

    assert (400, "application/json") == (answer.status_code, answer.headers["content-type"])
    assert "invalid_audio" == error_of(answer)["code"]


def test_a_recording_without_a_word_is_one_event(port: int, bench: Bench) -> None:
    """No delta, and the last event as always."""

    async def silence(*_: object, **__: object) -> Transcript:
        return Transcript("transcribe", "pt", 2.0, "")

    bench.transcriber.transcribe = silence  # type: ignore[method-assign]
    answer = ask(port)

    assert ("text/event-stream", "no") == (
        answer.headers["content-type"],
        answer.headers["x-accel-buffering"],
    )
    assert ["transcript.text.done"] == [event["type"] for event in events(answer.text)]


def test_a_client_that_leaves_in_the_middle_cancels_its_work(port: int, bench: Bench) -> None:
    """Everything it held is free again."""
    bench.transcriber.hold = True
    with connected(port) as client:
        client.sendall(UPLOAD)
        assert bench.transcriber.started.wait(5)
        data = b""
        while b"Tudo bem" not in data:
            data += client.recv(65536)

    assert bench.transcriber.cancelled.wait(5)
    assert eventually(lambda: bench.lines() != [])
    assert [499] == [line["status"] for line in bench.lines()]
    assert 0 == bench.admission.active
    assert [] == bench.lines("fault") + bench.lines("library")


def test_a_stop_ends_a_stream_with_an_error_event(tmp_path: Path, bench: Bench) -> None:
    """What does not end in time is told so, in the words of a stream."""
    bench.transcriber.hold = True
    with serving(bench) as (port, listener), connected(port) as client:
        listener.config.timeout_graceful_shutdown = 0.3  # type: ignore[assignment]
        client.sendall(UPLOAD)
        assert bench.transcriber.started.wait(5)
        listener.should_exit = True
        data = b""
        while piece := client.recv(65536):
            data += piece

    assert data.endswith(b"\r\n0\r\n\r\n")
    assert b'data: {"error": {' in data
    assert b'"code": "draining"' in data
    assert [(503, "draining")] == [(line["status"], line["error"]) for line in bench.lines()]
