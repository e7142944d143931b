"""`GET /docs`: the API on one page, for people.

Knows: HTML, and the description that `openapi` makes.
Must not know: anything that is not in that description. No script, nothing from elsewhere.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import falcon.asgi

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%;margin:1rem 0}"
    "td,th{border-bottom:1px solid #8886;padding:.3rem .6rem .3rem 0;text-align:left;"
    "vertical-align:top}pre{overflow:auto;padding:1rem;background:#8882}"
    ":root{color-scheme:light dark}"
)

SECURITY = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'",
}

CURL = (
    'curl -H "Authorization: Bearer $KEY" -F file=@audio.mp3 -F model=whisper-1 '
    "{base}/v1/audio/transcriptions"
)


class DocsPage:
    """GET /docs; made once."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        self._data = page(description).encode()

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The page, which may load and run nothing."""
        resp.data, resp.content_type = self._data, "text/html; charset=utf-8"
        resp.set_headers(SECURITY)

    on_head = on_get


def page(description: Mapping[str, Any]) -> str:
    """The whole page."""
    info, paths = description["info"], description["paths"]
    form = paths["/v1/audio/transcriptions"]["post"]["requestBody"]["content"]
    fields = form["multipart/form-data"]["schema"]["properties"]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])} API</title><style>{STYLE}</style>"
        f"<h1>{escape(info['title'])}</h1>"
        f"<p>{_prose(info['description'])}</p>"
        "<p>The key goes into <code>Authorization: Bearer wsk_…</code>, or into Azure's "
        "<code>api-key</code>. With <code>BASE</code> for this server's address:</p>"
        f"<pre>{escape(CURL.format(base='BASE'))}</pre>"
        "<p>For programs: <a href='openapi.json'>openapi.json</a>.</p>"
        f"<h2>Routes</h2>{_table(('Route', 'What it is for'), _routes(paths))}"
        f"<h2>Fields</h2>{_table(('Field', 'Values', 'Meaning'), _fields(fields))}"
        f"<h2>Errors</h2>{_table(('Status', 'Code and meaning'), _errors(paths))}</html>"
    )


def _routes(paths: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for path, item in paths.items():
        for method in ("get", "post"):
            if method in item:
                yield f"`{method.upper()} {path}`", item[method]["summary"]


def _fields(fields: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
    for name, schema in fields.items():
        yield f"`{name}`", _values(schema), schema["description"]


def _values(schema: Mapping[str, Any]) -> str:
    """A field's type or values, and its bounds."""
    if "anyOf" in schema:
        some = [each for each in schema["anyOf"] if each.get("const") != ""]
        lists = [each for each in some if each.get("type") == "array"]
        return ", or ".join(_values(each) for each in lists or some)
    if "const" in schema or "enum" in schema:
        values = schema.get("enum") or [schema["const"]]
        return ", ".join(f"`{value}`".lower() for value in values)
    if schema["type"] == "array":
        return f"list of {_values(schema['items'])}"
    if "maximum" in schema:
        least = schema.get("minimum", schema.get("exclusiveMinimum"))
        return f"{least} to {schema['maximum']}"
    if schema.get("format") == "binary":
        return "a file"
    return "text" if schema["type"] == "string" else str(schema["type"])


def _errors(paths: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Each status with all that it may mean, wherever it comes from."""
    found: dict[str, dict[str, None]] = {}
    for item in paths.values():
        for operation in (item[method] for method in ("get", "post") if method in item):
            for status, response in operation["responses"].items():
                if status != "200":
                    lines = dict.fromkeys(response["description"].split("\n\n"))
                    found.setdefault(status, {}).update(lines)
    for status, meanings in sorted(found.items()):
        yield status, "\n".join(meanings)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    headings = "".join(f"<th>{escape(cell)}" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{_prose(cell)}" for cell in row) for row in rows)
    return f"<table><tr>{headings}{body}</table>"


def _prose(text: str) -> str:
    """Text with `code` in it, and line breaks."""
    pieces = escape(text, quote=False).split("`")
    marked = [f"<code>{x}</code>" if index % 2 else x for index, x in enumerate(pieces)]
    return "".join(marked).replace("\n", "<br>")
