"""Properties of the edge as ASGI sees it: any path, header and body gets one answer of ours."""

import asyncio
import json
import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from edge_bench import FORM_TYPE, KEY, OPEN, Bench, build, form
from form_targets import DATA, PARTS, body_of, cut
from hypothesis import strategies as st
from target import target

from server.http.language import preferred
from server.http.middleware import OPEN_PATHS, canonical

VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")

LATIN = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30)
FORWARDED = st.sampled_from(
    [
        "127.0.0.1",
        "10.0.0.1, 127.0.0.1",
        "::1",
        "[::1]:80",
        "unknown",
        "_hidden",
        "for=127.0.0.1;proto=https",
        'for="[2001:db8::1]:4711"',
        "https",
        "x" * 2_000,
        ",,,,",
        "999.999.999.999",
        "127.0.0.1:99999999",
    ]
)
HEADERS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(
                [
                    "x-forwarded-for",
                    "x-forwarded-proto",
                    "x-forwarded-host",
                    "forwarded",
                    "x-real-ip",
                    "x-forwarded-port",
                    "x-original-url",
                    "x-rewrite-url",
                    "x-http-method-override",
                ]
            ),
            FORWARDED,
        ),
        st.tuples(
            st.sampled_from(
                [
                    "accept-language",
                    "x-request-id",
                    "origin",
                    "content-type",
                    "expect",
                    "host",
                    "cookie",
                    "api-key",
                    "if-none-match",
                    "range",
                    "accept",
                    "access-control-request-method",
                ]
            ),
            LATIN
            | st.sampled_from(
                ["pt-BR,en;q=0.5", "*", "multipart/form-data", "100-continue", "nan", "q=inf"]
            ),
        ),
        st.tuples(st.from_regex(r"[a-z-]{1,12}", fullmatch=True), LATIN),
    ),
    max_size=5,
)
PATHS = st.one_of(
    st.sampled_from(
        [
            "/",
            "/healthz",
            "/readyz",
            "/docs",
            "/v1/models",
            "/v1/usage",
            "/v1/audio/transcriptions",
            "/v1/audio/translations",
            "/openai/deployments/x/audio/transcriptions",
            "/models/base",
        ]
    ),
    st.lists(
        st.sampled_from(
            [
                "/",
                "//",
                "..",
                ".",
                "v1",
                "audio",
                "openai",
                "models",
                "healthz",
                "%2e",
                "\0",
                "é",
                ";",
                "%",
                "\\",
            ]
        ),
        max_size=6,
    ).map("".join),
    st.text(max_size=20),
)
BODIES = st.one_of(PARTS.map(body_of), DATA, st.just(form(("file", b"x"))))


@cache
def bench() -> tuple[Bench, asyncio.Runner]:
    """One application for all cases, on one loop."""
    made = build(Path(tempfile.gettempdir()), failures_per_minute=100_000)
    OPEN.clear()  # its life is this process's
    return made, asyncio.Runner()


async def _ask(app: Any, scope: dict[str, Any], pieces: list[bytes]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    messages = [
        {"type": "http.request", "body": piece, "more_body": at + 1 < len(pieces)}
        for at, piece in enumerate(pieces)
    ]

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        return await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        sent.append(message)

    async with asyncio.timeout(10):
        await app(scope, receive, send)
    return sent


@target(
    st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "BREW"]),
    PATHS,
    HEADERS,
    BODIES,
    st.lists(st.integers(0, 500), max_size=3),
    st.sampled_from([f"Bearer {KEY.key}", "Bearer x", "", "Basic eDp5", "Bearer a.b.c"]),
)
def requests(
    method: str,
    path: str,
    headers: list[tuple[str, str]],
    body: bytes,
    places: list[int],
    credential: str,
) -> None:
    """One answer, never a 5xx, well-formed, and nothing without a key but what is open."""
    made, runner = bench()
    made.log.truncate(made.log.seek(0))
    made.loader.uploads.clear()
    raw = path.encode()
    lines = [(b"content-type", FORM_TYPE["Content-Type"].encode())] + [
        (name.encode(), value.encode("latin-1")) for name, value in headers
    ]
    if credential:
        lines.append((b"authorization", credential.encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": raw,
        "query_string": b"",
        "root_path": "",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "headers": [*lines, (b"content-length", b"%d" % len(body))],
    }
    sent = runner.run(_ask(made.app, scope, cut(body, places)))

    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert len(starts) == 1
    status = starts[0]["status"]
    assert status < 500, made.log.getvalue()
    assert all(VALUE.fullmatch(value) for _, value in starts[0]["headers"])
    if KEY.key not in credential and raw not in OPEN_PATHS and status != 204:
        assert status == 401
    answer = b"".join(message.get("body", b"") for message in sent)
    if status >= 400 and method != "HEAD":
        assert json.loads(answer)["error"].keys() == {"message", "type", "param", "code"}


@target(st.text(max_size=40))
def paths(path: str) -> None:
    """A path's one form is its own one form."""
    assert canonical(canonical(path)) == canonical(path)


@target(
    st.one_of(
        LATIN,
        st.lists(st.sampled_from(["pt", "en", "-BR", ";", "q=", "0.5", "nan", ",", "*"])).map(
            "".join
        ),
    )
)
def accept_language(header: str) -> None:
    """Any Accept-Language is one of our languages."""
    assert preferred(header) in ("en", "pt")
