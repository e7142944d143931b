"""The two routes, from upload to body."""

from dataclasses import replace

import pytest
from edge_bench import FILE, TRANSCRIPT, Bench, build, error_of, post

from server import texts
from server.errors import (
    AudioTooLong,
    BadAudio,
    DeadlineExceeded,
    EngineError,
    InternalError,
    Overloaded,
    ServerError,
)
from server.formats import RESPONSE_FORMATS, ResponseFormat, render


@pytest.mark.parametrize("response_format", RESPONSE_FORMATS)
def test_every_format_is_the_transcript_rendered(
    bench: Bench, response_format: ResponseFormat
) -> None:
    """Body and content type are the formats' own."""
    response = post(bench, ("response_format", response_format), FILE)

    assert render(TRANSCRIPT, response_format) == (
        response.content,
        response.headers["content-type"],
    )


def test_json_is_the_default(bench: Bench) -> None:
    """n8n asks for none, and needs JSON."""
    response = post(bench, FILE)

    assert "application/json" == response.headers["content-type"]
    assert {
        "text": "Olá, mundo. Tudo bem?",
        "usage": {"type": "duration", "seconds": 4},
    } == response.json()


def test_a_translation_is_asked_of_the_same_model(bench: Bench) -> None:
    """The route decides the task."""
    response = post(bench, FILE, ("response_format", "verbose_json"), path="/v1/audio/translations")

    assert "translate" == response.json()["task"]
    assert "translate" == bench.lines()[0]["task"]


@pytest.mark.parametrize("response_format", RESPONSE_FORMATS)
def test_a_warning_is_in_a_header_in_every_format(
    bench: Bench, response_format: ResponseFormat
) -> None:
    """Subtitles have no place for it."""
    warnings = ("audio_truncated", "audio_damaged")
    bench.loader.warnings = warnings
    bench.transcriber.transcript = replace(TRANSCRIPT, warnings=warnings)
    response = post(bench, ("response_format", response_format), FILE)

    assert "audio_truncated, audio_damaged" == response.headers["x-sussurro-warning"]


def test_no_warning_no_header(bench: Bench) -> None:
    """The header means that something went wrong."""
    assert "x-sussurro-warning" not in post(bench, FILE).headers


ERRORS: list[ServerError] = [
    BadAudio(texts.NOT_MEDIA, param="file", reason="not_media"),
    AudioTooLong(texts.AUDIO_TOO_LONG.filled(max_seconds=5), param="file"),
    EngineError("The engine failed."),
    Overloaded(texts.NO_DISK, retry_after=7),
    DeadlineExceeded(texts.DEADLINE_EXCEEDED),
    InternalError("Fault.", reason="bad_output"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("part", ["loader", "transcriber"])
def test_an_error_of_a_part_reaches_the_client(bench: Bench, error: ServerError, part: str) -> None:
    """Status, message, field and code; the reason is for the log alone."""
    getattr(bench, part).error = error
    response = post(bench, FILE)

    assert error.status == response.status_code
    assert {
        "message": error.message,
        "type": error.type,
        "param": error.param,
        "code": error.code,
    } == error_of(response)
    assert (error.code, error.reason) == (
        bench.lines()[0]["error"],
        bench.lines()[0].get("reason"),
    )
    assert (str(error.retry_after) if error.retry_after else None) == response.headers.get(
        "retry-after"
    )


@pytest.mark.parametrize("part", ["loader", "transcriber"])
def test_a_fault_tells_the_client_nothing(bench: Bench, part: str) -> None:
    """A general message outside; type and place in the log."""
    getattr(bench, part).error = RuntimeError("secret detail /srv/path")
    response = post(bench, FILE)

    assert (500, "internal_error") == (response.status_code, error_of(response)["code"])
    assert "secret" not in response.text + bench.log.getvalue()
    assert ["builtins.RuntimeError"] == [e["type"] for e in bench.lines("fault")[0]["exception"]]


def test_a_stray_timeout_is_a_fault_and_not_the_deadline(bench: Bench) -> None:
    """Only our own clock makes a 504."""
    bench.transcriber.error = TimeoutError()

    assert 500 == post(bench, FILE).status_code


def test_the_deadline_ends_a_transcription(bench: Bench) -> None:
    """504 when it takes longer than the limit, and the work is cancelled."""
    bench = build(bench.settings.spool_dir, request_timeout=0.05)
    bench.transcriber.hold = True
    response = post(bench, FILE)

    assert (504, "deadline_exceeded") == (response.status_code, error_of(response)["code"])
    assert bench.transcriber.cancelled.is_set()
    assert 0 == bench.admission.active


@pytest.mark.parametrize("bad", [False, True])
def test_the_place_is_given_back(bench: Bench, bad: bool) -> None:
    """After an answer and after an error."""
    post(bench, FILE, *([FILE] if bad else []))

    assert 0 == bench.admission.active


def test_the_log_line_has_what_the_transcription_cost(bench: Bench) -> None:
    """One line answers: who, what, how long, how good."""
    post(bench, FILE)
    (line,) = bench.lines()

    assert {
        "key_id": "tester",
        "route": "/v1/audio/transcriptions",
        "status": 200,
        "audio_s": 1.0,
        "windows": 1,
        "fallbacks": 0,
        "dropped": 0,
        "queue_s": 0.01,
        "compute_s": 0.2,
        "engine": "stub",
        "model": "base",
        "task": "transcribe",
        "response_format": "json",
        "client_disconnected": False,
    }.items() <= line.items()
    assert {"upload_s", "load_s", "total_s", "rtf", "upload_bytes", "request_id"} <= line.keys()
    assert "error" not in line


SECRET = "sUpErSeCrEt"


def test_nothing_that_a_caller_sends_is_logged(bench: Bench) -> None:
    """File name, prompt, fields, key, query, headers, path and method stay out of the log."""
    bench.transcriber.transcript = replace(TRANSCRIPT, text=SECRET)
    headers = {"User-Agent": SECRET, "X-Request-Id": f"{SECRET} !", "Cookie": SECRET}
    files = {"file": (f"{SECRET}.mp3", SECRET.encode())}
    fields = {"prompt": SECRET, SECRET: SECRET, "response_format": "text"}
    url = f"/v1/audio/transcriptions?key={SECRET}"
    bench.request("POST", url, files=files, data=fields, headers=headers)
    for name in ("model", "language", "temperature", "response_format", "include"):
        bench.request("POST", url, files=files, data={name: SECRET}, headers=headers)
    bench.transcriber.error = ValueError(SECRET)
    bench.request("POST", url, files=files, data=fields, headers=headers)
    bench.request("GET", f"/v1/models/{SECRET}")
    bench.request("GET", f"/{SECRET}")
    bench.request(SECRET, "/")
    bench.request("GET", "/v1/models", headers={"Authorization": f"Bearer {SECRET}"})

    assert 11 == len(bench.lines())
    assert [200, 404, 400, 400, 400, 400, 500, 404, 404, 405, 401] == [
        line["status"] for line in bench.lines()
    ]
    assert SECRET.lower() not in bench.log.getvalue().lower()
