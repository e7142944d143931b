"""Requests as an attacker sends them: hostile files in good forms, hostile forms, hostile HTTP."""

import gzip
import random
from collections.abc import Iterator
from dataclasses import dataclass

from corpus import hostile, spoilt
from form_targets import cut
from server_process import KEY

BOUNDARY = b"x9boundary9x"
DELIMITER = b"--" + BOUNDARY
PATHS = (b"/v1/audio/transcriptions", b"/v1/audio/translations", b"/audio/transcriptions")
FORWARDED = (
    b"X-Forwarded-For: 127.0.0.1, 10.0.0.1",
    b"X-Forwarded-For: " + b"1.2.3.4, " * 500,
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: evil.example",
    b"X-Original-URL: /healthz",
    b'Forwarded: for="[::1]:80";proto=https;by=_x',
    b"X-Real-IP: ::ffff:127.0.0.1%eth0",
)


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent, in pieces; `silent` where the server may close without a word."""

    name: str
    pieces: tuple[bytes, ...]
    silent: bool = False


def form(content: bytes, fields: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """A form with a file."""
    parts = [*fields, (b'file"; filename="a.mp3', content)]
    text = b"".join(
        b'%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (DELIMITER, name, value)
        for name, value in parts
    )
    return text + DELIMITER + b"--\r\n"


def head(*lines: bytes, path: bytes = PATHS[0], method: bytes = b"POST") -> list[bytes]:
    """The lines of a good request's head."""
    return [
        b"%b %b HTTP/1.1" % (method, path),
        b"Host: x",
        b"Connection: close",
        b"Authorization: Bearer " + KEY.key.encode(),
        b"Content-Type: multipart/form-data; boundary=" + BOUNDARY,
        *lines,
    ]


def request(lines: list[bytes], body: bytes) -> bytes:
    """Head and body."""
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def sized(body: bytes, *lines: bytes, path: bytes = PATHS[0]) -> bytes:
    """A request with a Content-Length that is true."""
    return request(head(b"Content-Length: %d" % len(body), *lines, path=path), body)


def chunked(body: bytes, chance: random.Random) -> bytes:
    """A body in chunks of any size."""
    pieces = cut(body, [chance.randrange(len(body) + 1) for _ in range(chance.randint(0, 5))])
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (*filter(None, pieces), b""))


def of_files() -> Iterator[Case]:
    """Each hostile file once."""
    for name, content in hostile().items():
        yield Case(name, (sized(form(content)),))


def of_forms() -> Iterator[Case]:
    """Each hostile form once."""
    good = form(b"x" * 100)
    part = b'%b\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n' % DELIMITER
    yield Case("10 000 parts", (sized(part * 10_000 + good),))
    yield Case(
        "10 000 parts without a name", (sized((DELIMITER + b"\r\n\r\n\r\n") * 10_000 + good),)
    )
    yield Case(
        "10 000 headers in a part",
        (sized(DELIMITER + b"\r\n" + b"X: y\r\n" * 10_000 + b"\r\n" + good),),
    )
    yield Case(
        "a header of 2 MB in a part",
        (sized(DELIMITER + b"\r\nX: " + b"y" * 2_000_000 + b"\r\n\r\n" + good),),
    )
    yield Case("a name of 1 MB", (sized(form(b"x", ((b"n" * 1_000_000, b"v"),))),))
    yield Case("a field of 2 MB", (sized(form(b"x", ((b"prompt", b"v" * 2_000_000),))),))
    yield Case("an unknown field of 7 MB", (sized(form(b"x", ((b"user", b"v" * 7_000_000),))),))
    yield Case("2 MB of delimiters", (sized(DELIMITER * 140_000),))
    yield Case("2 MB of almost delimiters", (sized(form((b"\r\n" + DELIMITER[:-1]) * 140_000)),))
    yield Case("2 MB of line breaks", (sized(b"\r\n" * 1_000_000),))
    yield Case("a prologue of 2 MB", (sized(b"p" * 2_000_000 + b"\r\n" + good),))
    yield Case("an epilogue of 2 MB", (sized(good + b"e" * 2_000_000),))
    yield Case(
        "a form packed by gzip", (sized(gzip.compress(good, mtime=0), b"Content-Encoding: gzip"),)
    )
    yield Case("a form in a form", (sized(form(good)),))
    yield Case("no end", (sized(good[:-20]),))
    yield Case("nothing", (sized(b""),))
    for spaces in (b" ", b"\n", "\u3000".encode()):
        yield Case(
            "a prompt of white space",
            (sized(form(b"x", ((b"prompt", b"a" + spaces * 5_000 + b"b"),))),),
        )


def of_file(chance: random.Random) -> Case:
    """A spoilt file in a good form."""
    name, content = spoilt(chance)
    formats = (b"json", b"text", b"srt", b"vtt", b"verbose_json")
    fields = ((b"response_format", chance.choice(formats)),)
    return Case(name, (sized(form(content, fields), path=chance.choice(PATHS)),))


PIECES = (
    b"\r\n",
    b"\r",
    b"\n",
    b"\0",
    b"--",
    DELIMITER,
    DELIMITER + b"--",
    b'"',
    b"; name=",
    b"\xff",
)


def of_form(chance: random.Random) -> Case:
    """A form with something wrong in it, in pieces, with a length or in chunks."""
    fields = tuple(
        (
            chance.choice((b"model", b"prompt", b"language", b"keywords[]", b"file", b"x")),
            chance.randbytes(9),
        )
        for _ in range(chance.randint(0, 4))
    )
    body = bytearray(form(chance.randbytes(chance.choice((0, 9, 3_000))), fields))
    for _ in range(chance.randint(0, 3)):
        at = chance.randrange(len(body) + 1)
        body[at : at + chance.choice((0, 0, 1, 20))] = chance.choice(PIECES)
    if chance.random() < 0.5:
        sent = request(head(b"Transfer-Encoding: chunked"), chunked(bytes(body), chance))
    else:
        sent = sized(bytes(body))
    places = [chance.randrange(len(sent)) for _ in range(chance.randint(0, 4))]
    return Case("form", tuple(filter(None, cut(sent, places))))


LINES = (
    *FORWARDED,
    b"Content-Length: 5",
    b"Content-Length: -1",
    b"Content-Length: 1e3",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: 5, 5",
    b"Content-Length : 5",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding:\x0bchunked",
    b"transfer-encoding: identity",
    b"Transfer-Encoding: gzip, chunked",
    b" folded: line",
    b"no colon",
    b": no name",
    b"X\0: y",
    b"X: \0",
    b"X: \xff",
    b"Expect: 100-continue",
    b"Expect: x",
    b"Connection: keep-alive, Upgrade",
    b"Upgrade: h2c",
    b"Upgrade: websocket",
    b"Host: y",
    b"Authorization: Bearer x",
    b"X-Request-Id: " + b"r" * 200,
    b"X: " + b"x" * 70_000,
    b"X: y\nZ: z",
    b"Content-Type: multipart/form-data",
    b"Content-Type: multipart/form-data; boundary=" + b"b" * 5_000,
    b"Content-Encoding: gzip",
    b"Accept-Language: " + b"pt;q=0.1," * 900,
    b"Cookie: " + b"a=b; " * 3_000,
)
FIRST = (
    b"GET / HTTP/1.1",
    b"POST / HTTP/2.0",
    b"POST /v1/audio/transcriptions",
    b"PRI * HTTP/2.0",
    b"\x16\x03\x01",
    b"CONNECT x:1 HTTP/1.1",
    b"POST http://y/v1/models HTTP/1.1",
    b"POST /%00 HTTP/1.1",
    b"POST /" + b"a" * 60_000,
    b"OPTIONS * HTTP/1.1",
    b"HEAD /healthz HTTP/1.1",
    b"POST  / HTTP/1.1",
    b"post / http/1.1",
    b"POST /\xff HTTP/1.1",
    b"GET /v1/models/%2e%2e HTTP/1.1",
    b"GET /v1//usage?a[]=1&%zz HTTP/1.0",
    b"BREW / HTTP/1.1",
    b"",
)
CHUNKS = (
    b"5\r\nabcde\r\n",
    b"ffffffffffffffff\r\nx",
    b"-1\r\nx\r\n",
    b"0x5\r\nabcde\r\n",
    b"5;a=b\r\nabcde\r\n",
    b"5\nabcde\n",
    b"5 \r\nabcde\r\n",
    b"5;" + b"e" * 20_000 + b"\r\nabcde\r\n",
    b"\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"0\r\n" + b"T: x\r\n" * 5_000,
    b"0\r\n\r\n",
    b"zz\r\n",
    b"000000000000000000005\r\nabcde\r\n",
)


def of_wire(chance: random.Random) -> Case:
    """A request whose head, framing or order is wrong."""
    body = form(b"x" * chance.choice((0, 10, 2_000)))
    lines = head(*chance.sample(LINES, chance.randint(0, 2)))
    framing = chance.random()
    if framing < 0.4:
        lines.append(
            b"Content-Length: %d" % max(0, len(body) + chance.choice((0, 0, -1, 1, -50, 500)))
        )
    elif framing < 0.8:
        lines.append(b"Transfer-Encoding: chunked")
        body = b"".join(chance.choice(CHUNKS) for _ in range(chance.randint(1, 4)))
    if chance.random() < 0.3:
        lines[0] = chance.choice(FIRST)
    if chance.random() < 0.2:
        del lines[chance.randrange(len(lines))]
    if chance.random() < 0.2:
        chance.shuffle(lines)
    sent = bytearray(
        chance.choice((b"\r\n", b"\r\n", b"\r\n", b"\n")).join(lines) + b"\r\n\r\n" + body
    )
    if chance.random() < 0.2:
        sent += b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
    for _ in range(chance.choice((0, 0, 1, 5))):
        sent[chance.randrange(len(sent))] = chance.randrange(256)
    if chance.random() < 0.1:
        del sent[chance.randrange(len(sent)) :]
    places = [chance.randrange(len(sent) + 1) for _ in range(chance.randint(0, 3))]
    return Case("wire", tuple(filter(None, cut(bytes(sent), places))), silent=True)


KINDS = (of_file, of_file, of_file, of_form, of_wire)
"""As many of each as it is here."""


def of_chance(number: int) -> Case:
    """The case of this number, always the same."""
    chance = random.Random(number)
    return chance.choice(KINDS)(chance)
