"""`GET /` for a person with a browser: a page that transcribes, and the page's own files.

Knows: its files, who would rather have a page than JSON, the headers that fence a page in.
Must not know: what the page does; to the server it is one more client, with a key of its own.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import NamedTuple

import falcon
import falcon.asgi

from server.http.exchange import exchange_of
from server.http.language import TAGS

FOLDER = Path(__file__).with_name("page_files")
PREFIX = "/page/"

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
HTML = "text/html; charset=utf-8"
INDEX = "index.html"

NAMES = tuple(sorted(path.name for path in FOLDER.iterdir() if path.suffix in TYPES))
"""The files below `/page/`."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""The page's own files, and the recording that is in the browser already; nothing else."""

SECURITY = {
    "content-security-policy": POLICY,
    "permissions-policy": "microphone=(self), camera=(), geolocation=(), display-capture=()",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",  # kept, and asked about each time: a new version is seen at once
}


class File(NamedTuple):
    """A file in memory."""

    data: bytes
    content_type: str
    etag: str


class Page:
    """The page in both languages, and its files; read once."""

    def __init__(self) -> None:
        texts = json.loads((FOLDER / "texts.json").read_text(encoding="utf-8"))
        html = (FOLDER / INDEX).read_text(encoding="utf-8")
        self._pages = {
            language: _file(filled(html, texts[language], tag).encode(), HTML)
            for language, tag in TAGS.items()
        }
        self._files = {
            name: _file((FOLDER / name).read_bytes(), TYPES[Path(name).suffix]) for name in NAMES
        }
        self.paths = frozenset((PREFIX + name).encode() for name in NAMES)
        """Raw paths that need no key."""

    def show(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The page, in the language that the browser prefers."""
        language = exchange_of(req).language
        _send(self._pages[language], req, resp)
        resp.set_header("content-language", TAGS[language])

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, name: str) -> None:
        """One of the files."""
        if name not in self._files:
            raise falcon.HTTPNotFound
        _send(self._files[name], req, resp)

    on_head = on_get


def wants_page(accept: str) -> bool:
    """Whether HTML is asked for by name, and JSON is not wanted as much.

    n8n's HTTP Request node lists both alike, and is a program; so is whoever takes anything.
    """
    weights = {"text/html": 0.0, "application/json": 0.0}
    for entry in accept.split(",")[:50]:
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        if name in weights:
            weights[name] = _weight(parameters)
    return weights["text/html"] > weights["application/json"]


def filled(html: str, texts: Mapping[str, str], tag: str) -> str:
    """The page with its texts in it, so that it can be read before its script runs."""
    html = html.replace('<html lang="en">', f'<html lang="{tag}">', 1)
    html = re.sub(
        r'data-label="(\w+)"',
        lambda match: f'{match[0]} aria-label="{escape(texts[match[1]])}"',
        html,
    )
    return re.sub(
        r'(data-text="(\w+)"[^>]*>)',
        lambda match: match[1] + escape(texts[match[2]], quote=False),
        html,
    )


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _file(data: bytes, content_type: str) -> File:
    return File(data, content_type, hashlib.sha256(data).hexdigest()[:32])


def _send(file: File, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
    """The file, or 304 where the browser has it."""
    resp.set_headers(SECURITY)
    resp.etag = file.etag
    if any(etag in ("*", file.etag) for etag in req.if_none_match or ()):
        resp.status = falcon.HTTP_304
        return
    resp.data, resp.content_type = file.data, file.content_type
