"""Forms as real clients send them, and as they should not."""

from collections.abc import Callable
from typing import Any

import pytest
from edge_bench import BOUNDARY, FILE, FORM_TYPE, Bench, build, error_of, form, post

Part = tuple[str, bytes | str]

HEADERS = {
    "no file name and no type (curl file=@-)": 'Content-Disposition: form-data; name="file"',
    "text/plain": 'Content-Disposition: form-data; name="file"; filename="a.oga"\r\n'
    "Content-Type: text/plain",
    "type with parameters": 'Content-Disposition: form-data; name="file"; filename="x"\r\n'
    "Content-Type: audio/ogg; codecs=opus",
    "UTF-8 name": 'Content-Disposition: form-data; name="file"; filename="grüße 世界.mp3"',
    "RFC 5987 name": "Content-Disposition: form-data; name=\"file\"; filename*=utf-8''%F0%9F.mp3",
    "bare name": "Content-Disposition: form-data; name=file; filename=a.mp3",
    "header names in any case": 'content-disposition: form-data; name="file"; filename="a"',
    "path in the name": 'Content-Disposition: form-data; name="file"; filename="../../etc/passwd"',
    "unknown headers": 'Content-Disposition: form-data; name="file"\r\nX-Odd: 1\r\n'
    "Content-Length: 15",
}


def raw_part(headers: bytes, data: bytes = b"ID3 audio bytes") -> bytes:
    """A part with exactly these headers."""
    return f"--{BOUNDARY}\r\n".encode() + headers + b"\r\n\r\n" + data + b"\r\n"


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
def test_a_file_is_a_file_whatever_its_headers(bench: Bench, headers: str) -> None:
    """Only the part's name counts; the bytes arrive as they were sent."""
    response = post(bench, raw_part(headers.encode()))

    assert 200 == response.status_code
    assert [b"ID3 audio bytes"] == bench.loader.uploads


def test_a_latin_1_file_name_does_no_harm(bench: Bench) -> None:
    """Old clients send names in the encoding of their system."""
    headers = 'Content-Disposition: form-data; name="file"; filename="grüße.mp3"'.encode("latin-1")

    assert 200 == post(bench, raw_part(headers)).status_code


@pytest.mark.parametrize("order", [1, -1])
def test_fields_may_come_before_and_after_the_file(bench: Bench, order: int) -> None:
    """JavaScript's SDK sends the file first, Python's last."""
    parts: list[Part] = [FILE, ("language", "pt"), ("response_format", "text")]
    response = post(bench, *parts[::order])

    assert "Olá, mundo. Tudo bem?\n" == response.text
    assert bench.transcriber.options is not None
    assert "pt" == bench.transcriber.options.language


@pytest.mark.parametrize("size", [1, 8191, 65_536, 1 << 20, 3_000_001])
def test_the_file_arrives_as_it_was_sent(bench: Bench, size: int) -> None:
    """Across every boundary of buffers; line breaks and dashes in it are data."""
    data = (b"\r\n--" + BOUNDARY[:-1].encode() + bytes(range(256)) * 13 + b"\r\n")[:3300]
    data = (data * (size // len(data) + 1))[:size]
    response = post(bench, ("file", data))

    assert 200 == response.status_code
    assert [data[: 1 << 20]] == bench.loader.uploads
    assert bench.lines()[0]["upload_bytes"] == len(form(("file", data)))


def test_a_body_without_its_last_line_break_is_taken(bench: Bench) -> None:
    """Some fetch implementations leave it out."""
    body = form(FILE).removesuffix(b"\r\n")
    response = bench.request("POST", "/v1/audio/transcriptions", content=body, headers=FORM_TYPE)

    assert 200 == response.status_code


def test_text_around_the_form_is_ignored(bench: Bench) -> None:
    """RFC 2046 allows a preamble and an epilogue."""
    body = b"preamble\r\n" + form(FILE) + b"epilogue" * 100
    response = bench.request("POST", "/v1/audio/transcriptions", content=body, headers=FORM_TYPE)

    assert 200 == response.status_code


def test_unknown_fields_are_ignored_however_long(bench: Bench) -> None:
    """Clients send what other servers know; it is not even kept."""
    assert 200 == post(bench, ("user", "x" * 100_000), FILE, ("vad_filter", "true")).status_code


def test_empty_optional_fields_count_as_absent(bench: Bench) -> None:
    """n8n sends some."""
    names = ("model", "language", "prompt", "response_format", "temperature", "stream")
    blanks: list[Part] = [(name, " ") for name in names]

    assert 200 == post(bench, *blanks, ("timestamp_granularities[]", ""), FILE).status_code


BAD: dict[str, tuple[list[Part | bytes], int, str, str | None]] = {
    "no file": ([("model", "base")], 400, "invalid_value", "file"),
    "no parts": ([], 400, "invalid_value", "file"),
    "two files": ([FILE, FILE], 400, "invalid_value", "file"),
    "empty file": ([("file", b"")], 400, "invalid_audio", "file"),
    "field too long": ([("prompt", "x" * 16_385), FILE], 400, "invalid_value", "prompt"),
    "field not UTF-8": ([("prompt", b"\xff"), FILE], 400, "invalid_value", "prompt"),
    "field twice": ([("model", "base"), ("model", "base"), FILE], 400, "invalid_value", "model"),
    "too many parts": ([("x", "y")] * 65, 400, "invalid_value", None),
    "file name too long": (
        [('file"; filename="' + "x" * 9000, b"ID3")],
        400,
        "invalid_value",
        None,
    ),
    "headers too long": (
        [raw_part(b"X-Long: " + b"x" * 9000)],
        400,
        "invalid_value",
        None,
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_form_is_refused_clearly(bench: Bench, name: str) -> None:
    """400, the field at fault where there is one, and nothing is decoded."""
    parts, status, code, param = BAD[name]
    response = post(bench, *parts)

    assert (status, code, param) == (
        response.status_code,
        error_of(response)["code"],
        error_of(response)["param"],
    )
    assert [] == bench.loader.uploads


def test_a_field_of_the_longest_length_is_taken(bench: Bench) -> None:
    """The limit is the last good length."""
    assert 200 == post(bench, ("prompt", "x" * 16_384), FILE).status_code


@pytest.mark.parametrize(
    "cut",
    [
        lambda body: body[:40],
        lambda body: body[: len(body) // 2],
        lambda body: body.removesuffix(b"--\r\n"),
        lambda body: b"",
        lambda body: b"\x00" * 1000,
        lambda body: body.replace(b"\r\n", b"\n"),
    ],
)
def test_a_broken_form_is_refused(bench: Bench, cut: Callable[[bytes], bytes]) -> None:
    """A body that ends too soon, or is none, is a 400 and never half a transcription."""
    response = bench.request(
        "POST", "/v1/audio/transcriptions", content=cut(form(FILE)), headers=FORM_TYPE
    )

    assert 400 == response.status_code
    assert "invalid_value" == error_of(response)["code"]
    assert [] == bench.loader.uploads


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "audio/mpeg",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "text/html; boundary=x",
        ";;;",
    ],
)
def test_what_is_no_form_is_told_how_to_send_one(bench: Bench, content_type: str | None) -> None:
    """n8n's body type «binary file» and many a curl line send raw audio."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = bench.request(
        "POST", "/v1/audio/transcriptions", content=b"ID3 audio", headers=headers
    )

    assert 415 == response.status_code
    assert "-F file=@" in error_of(response)["message"]


@pytest.mark.parametrize(
    "parameter", ["", "; boundary=", f"; boundary={'x' * 71}", "; boundary=ä", "; bound=x"]
)
def test_a_bad_boundary_is_refused(bench: Bench, parameter: str) -> None:
    """A common mistake: setting the Content-Type by hand."""
    content_type = f"multipart/form-data{parameter}".encode()
    response = bench.request(
        "POST",
        "/v1/audio/transcriptions",
        content=form(FILE),
        headers=[(b"Content-Type", content_type)],
    )

    assert 400 == response.status_code
    assert "boundary" in error_of(response)["message"]


def test_an_upload_over_the_limit_is_refused(bench: Bench) -> None:
    """OpenAI's words, with the numbers; known from Content-Length, or noticed while reading."""
    bench = build(bench.settings.spool_dir, max_upload_bytes=1000)
    body = form(("file", b"x" * 2000))

    async def chunked() -> Any:
        yield body

    for content in (body, chunked()):
        response = bench.request(
            "POST", "/v1/audio/transcriptions", content=content, headers=FORM_TYPE
        )
        assert 413 == response.status_code
        assert "upload_too_large" == error_of(response)["code"]
        assert (
            f"Maximum content size limit (1000) exceeded ({len(body)} bytes read)"
            in error_of(response)["message"]
        )
    assert [] == bench.loader.uploads


def test_an_upload_of_exactly_the_limit_is_taken(bench: Bench) -> None:
    """The limit counts the whole body."""
    body = form(FILE)
    bench = build(bench.settings.spool_dir, max_upload_bytes=len(body))

    assert 200 == post(bench, FILE).status_code


def test_a_full_disk_is_overload_and_not_a_fault(bench: Bench) -> None:
    """A folder that takes no file: 503 and a time to come back, no path in the answer."""
    bench = build(bench.settings.spool_dir / "gone")
    response = post(bench, FILE)

    assert (503, "30") == (response.status_code, response.headers["retry-after"])
    assert "overloaded" == error_of(response)["code"]
    assert "gone" not in response.text


def test_no_upload_leaves_a_file_behind(bench: Bench) -> None:
    """The spool file has no name from the start."""
    post(bench, FILE)
    post(bench, FILE, FILE)

    assert [] == list(bench.settings.spool_dir.iterdir())
