"""Properties of the form's reader and of what its fields are taken for."""

import io
import json
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from hypothesis import strategies as st
from target import target

from server.audio.spool_space import SpoolSpace
from server.decoding.prompt import encode_prompt
from server.engines.fake import byte_tokenizer
from server.errors import ServerError
from server.http import options
from server.http.fields import KNOWN, LISTS
from server.http.forms import Form, check_media_type, read_form
from server.http.problems import render
from server.http.spool import Spool
from server.types import TranscriptionOptions

BOUNDARY = "x9boundary9x"
DELIMITER = b"--" + BOUNDARY.encode()
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
MAX_FIELD_BYTES = 300
TOKENIZER = byte_tokenizer()
DEFAULTS = TranscriptionOptions()

Part: TypeAlias = tuple[str, bytes, bytes]
"""A field's name, further header lines, data."""

Outcome: TypeAlias = tuple[object, ...]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """What never waits needs no loop: a case takes a tenth of the time."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")


async def _pieces(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def outcome(pieces: Sequence[bytes], content_type: str = CONTENT_TYPE) -> Outcome:
    """The form and the file, or the refusal; anything else is raised."""
    space = SpoolSpace(1 << 20)  # nothing here fills a batch, so no thread writes one
    spool = Spool(io.BytesIO(), None, space, hashed=False)  # type: ignore[arg-type]
    reading = read_form(
        _pieces(pieces),
        content_type,
        spool,
        task="transcribe",
        wanted=KNOWN,
        max_field_bytes=MAX_FIELD_BYTES,
    )
    try:
        form: Form = run(reading)
    except ServerError as error:
        assert 400 <= error.status < 500
        render(error, "en"), render(error, "pt")
        return (type(error), error.param, error.message)
    return (form.fields, bytes(spool._batch))


NAMES = st.one_of(
    st.sampled_from(sorted(KNOWN | {"file"})).flatmap(
        lambda name: st.sampled_from([name, name, name + "[]", name + "[0]", name + "[type]"])
    ),
    st.text(st.characters(codec="utf-8", exclude_characters='"\\\r\n;='), max_size=12),
)
HEADERS = st.lists(
    st.sampled_from(
        [
            b"Content-Type: audio/mpeg",
            b"Content-Type: text/plain; charset=utf-16",
            b"Content-Transfer-Encoding: base64",
            b"Content-Encoding: gzip",
            b"Content-Length: 99999999999999999999",
            b"Content-Disposition: form-data",
            b"X: " + b"x" * 9_000,
            b"X-\xff: \xfe",
            b": ",
            b"no colon",
        ]
    ),
    max_size=3,
).map(lambda lines: b"".join(line + b"\r\n" for line in lines))
PIECES = st.sampled_from(
    [
        b"\r\n",
        b"\r",
        b"\n",
        b"--",
        DELIMITER,
        b"\r\n" + DELIMITER,
        DELIMITER[:-1],
        b"x" * 301,
        b"\0",
    ]
)
DATA = st.one_of(
    st.binary(max_size=40),
    st.lists(st.one_of(PIECES, st.binary(max_size=4)), max_size=6).map(b"".join),
)
PARTS = st.lists(st.tuples(NAMES, HEADERS, DATA), max_size=6)


def body_of(parts: Iterable[Part]) -> bytes:
    """The parts as a client would write them."""
    text = b""
    for name, headers, data in parts:
        disposition = b'Content-Disposition: form-data; name="%b"\r\n' % name.encode()
        text += DELIMITER + b"\r\n" + disposition + headers + b"\r\n" + data + b"\r\n"
    return text + DELIMITER + b"--\r\n"


def cut(body: bytes, places: Iterable[int]) -> list[bytes]:
    """The same bytes in pieces."""
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[a:b] for a, b in pairwise(edges)]


PLACES = st.lists(st.integers(0, 5_000), max_size=8)
EDITS = st.lists(
    st.tuples(st.integers(0, 5_000), st.integers(0, 30), st.one_of(PIECES, st.binary(max_size=6))),
    max_size=3,
)
"""Where, how much goes, and what comes there."""


@target(PARTS, EDITS, PLACES)
def form_splits(parts: list[Part], edits: list[tuple[int, int, bytes]], places: list[int]) -> None:
    """However a body is spoilt and split, its reader says the same, and says it in our words."""
    body = body_of(parts)
    for place, gone, piece in edits:
        at = place % (len(body) + 1)
        body = body[:at] + piece + body[at + gone :]
    whole = outcome([body])

    assert whole == outcome(cut(body, places))
    if len(body) < 500:
        assert whole == outcome([body[at : at + 1] for at in range(len(body))])


GOOD_NAMES = st.sampled_from(
    ["file", "model", "prompt", "keywords[]", "user", "chunking_strategy[type]"]
)
GOOD_DATA = st.one_of(st.binary(max_size=40), st.binary(min_size=299, max_size=301)).filter(
    lambda data: DELIMITER not in data
)


def expected(parts: Iterable[tuple[str, bytes]]) -> Outcome | None:
    """What an honest form holds, by RFC 7578 and our limits; None where it is to be refused."""
    fields: dict[str, list[str]] = {}
    files: list[bytes] = []
    for name, data in parts:
        if name == "file":
            files.append(data)
        elif name != "user":
            try:
                fields.setdefault(name.removesuffix("[]"), []).append(data.decode())
            except UnicodeDecodeError:
                return None
            if len(data) > MAX_FIELD_BYTES:
                return None
    return (fields, files[0]) if len(files) == 1 and files[0] else None


@target(st.lists(st.tuples(GOOD_NAMES, GOOD_DATA), max_size=5), PLACES, st.booleans())
def form_honest(parts: list[tuple[str, bytes]], places: list[int], prologue: bool) -> None:
    """What was written comes out, byte by byte; what cannot be taken is refused."""
    body = body_of((name, b"", data) for name, data in parts)
    found = outcome(cut(b"prologue\r\n" * prologue + body, places))
    wanted = expected(parts)

    assert found == wanted if wanted else isinstance(found[0], type)


WORDS = st.sampled_from(
    ["multipart/form-data", "; ", "boundary", "=", '"', "x9", "\\", "charset", "*", "''", "\xff"]
)


@target(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=8).map("".join)))
def content_types(text: str) -> None:
    """A content type is a form's, or is refused; and the reader takes whatever is taken."""
    try:
        content_type = check_media_type(text, "transcribe")
    except ServerError as error:
        assert error.status in (400, 415)
    else:
        outcome([body_of([("file", b"", b"x")])], content_type)


NUMBERS = st.one_of(
    st.integers().map(str), st.floats().map(str), st.sampled_from(["1e999", "\u0661", "0x1", "1_0"])
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=6), st.integers()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=5,
).map(json.dumps)
VALUES = st.one_of(
    st.sampled_from(
        [
            "json",
            "srt",
            "vtt",
            "text",
            "verbose_json",
            "true",
            "0",
            "pt",
            "pt-BR",
            "word",
            "segment",
            "logprobs",
            "auto",
            "server_vad",
            "fast",
            "accurate",
            "whisper-1",
            "[" * 2_000,
            '["\\ud800"]',
            '{"type": "server_vad"}',
            "9" * 5_000,
            "\0",
            " ",
        ]
    ),
    NUMBERS,
    JSON,
    st.text(max_size=12),
)
FIELD_NAMES = st.one_of(
    st.sampled_from(sorted(KNOWN)),
    st.sampled_from(sorted(LISTS)),
    st.sampled_from(
        ["chunking_strategy[type]", "chunking_strategy[threshold]", "chunking_strategy["]
    ),
)


@target(
    st.dictionaries(FIELD_NAMES, st.lists(VALUES, min_size=1, max_size=3), max_size=4),
    st.sampled_from(["transcribe", "translate"]),
)
def form_fields(form: dict[str, list[str]], task: Any) -> None:
    """Fields are options that every later stage can use, or are refused in two languages."""
    try:
        wanted = options.parse(form, task, DEFAULTS)
    except ServerError as error:
        assert error.status == 400
        assert error.param in {name.partition("[")[0] for name in form}
        render(error, "en"), render(error, "pt")
        return
    encode_prompt(TOKENIZER, wanted.options.prompt)
    encode_prompt(TOKENIZER, wanted.options.hotwords)
    assert wanted.options.temperatures
    assert all(0 <= temperature <= 1 for temperature in wanted.options.temperatures)
