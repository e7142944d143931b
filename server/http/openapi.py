"""`GET /openapi.json`: this server's own description, in OpenAPI 3.1.

Knows: every route, its fields (from `fields`), its answers (from `schemas`), its errors (from the
tree). Must not know: settings, models, how anything is done. It is the same for every caller.
"""

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import falcon.asgi

from server.errors import (
    AudioTooLong,
    BadAudio,
    DeadlineExceeded,
    Draining,
    EngineError,
    EngineUnavailable,
    Forbidden,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    IdempotencyOff,
    InsufficientQuota,
    InternalError,
    InvalidOption,
    JobNotFinished,
    JobNotFound,
    JobsOff,
    JobsUnavailable,
    MalformedRequest,
    ModelNotFound,
    NotFound,
    NoTranscript,
    NotReady,
    Overloaded,
    RateLimited,
    ServerError,
    TooManyFailures,
    Unauthenticated,
    UnsupportedMediaType,
    UploadTimeout,
    UploadTooLarge,
)
from server.formats import PLAIN, VTT
from server.http import events, metrics, page
from server.http.answer import OPENAI_VERSION
from server.http.fields import Fields, VadFields, schema_of
from server.http.idempotency import HEADER as IDEMPOTENCY_KEY
from server.http.idempotency import MAX_KEY, REPLAYED
from server.http.jobs import MAX_PAGE, PAGE, SHOWN
from server.http.page import HTML
from server.http.schemas import COMPONENTS, STRING, Schema, named, of_error, of_list
from server.types import Task

ALWAYS = (MalformedRequest, InternalError, Draining)
"""What can happen to any request."""

KEYED = (*ALWAYS, Unauthenticated, Forbidden, RateLimited, TooManyFailures)

TRANSCRIBING = (
    *KEYED,
    InvalidOption,
    BadAudio,
    AudioTooLong,
    ModelNotFound,
    InsufficientQuota,
    UploadTimeout,
    UploadTooLarge,
    UnsupportedMediaType,
    EngineError,
    Overloaded,
    NotReady,
    EngineUnavailable,
    DeadlineExceeded,
)

FOR_TRANSCRIPTIONS = frozenset({"language", "timestamp_granularities", "include", "stream"})
"""Fields that translations refuse."""

REPEATING = (IdempotencyOff, IdempotencyKeyInUse, IdempotencyKeyReused)
SEEING_JOBS = (*KEYED, JobsOff, JobNotFound, JobsUnavailable)
LISTING_JOBS = (*SEEING_JOBS, InvalidOption)
READING_JOBS = (*LISTING_JOBS, JobNotFinished, NoTranscript)

JOB_ID: Schema = {
    "name": "job_id",
    "in": "path",
    "required": True,
    "description": "The `id` of a job.",
    "schema": {"type": "string", "minLength": 1},
}
PAGING: list[Schema] = [
    {
        "name": "limit",
        "in": "query",
        "description": "How many.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": PAGE},
    },
    {
        "name": "after",
        "in": "query",
        "description": "The `id` of the last one of the page before.",
        "schema": {"type": "string"},
    },
]

EMPTY: Schema = {"const": ""}
"""What some clients send for a field that their user left alone."""

SAID: Schema = {"not": {"anyOf": [EMPTY, of_list(EMPTY)]}}
"""Anything but empty fields."""

EVENT: Schema = {
    "type": "object",
    "description": "One event: more of the text, or all of it at the end, or what went wrong.",
    "properties": {
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {
                "anyOf": [named("TextDelta"), named("TextDone"), of_error(TRANSCRIBING)]
            },
        }
    },
    "required": ["data"],
}

RETRY: Schema = {"enum": ["true", "false"]}
DIGITS: Schema = {"type": "string", "pattern": "^[0-9]+$"}

REPLAY: dict[str, Schema] = {REPLAYED: {"schema": {"const": "true"}}}

HEADERS: dict[str, Schema] = {
    "x-request-id": {"description": "The id under which the request is logged.", "schema": STRING},
    "openai-version": {"schema": {"const": OPENAI_VERSION}},
    "openai-processing-ms": {"schema": DIGITS},
}
"""What every answer has."""

ALLOWANCE: dict[str, Schema] = {
    "x-ratelimit-limit-requests": {
        "description": "Requests a minute of the caller, where it has a limit; so the other two.",
        "schema": DIGITS,
    },
    "x-ratelimit-remaining-requests": {"schema": DIGITS},
    "x-ratelimit-reset-requests": {"schema": STRING},
}
"""What an answer to a key or a token may have besides."""

API_VERSION = "1"
"""The path's; the server's own is not for everybody."""

DESCRIPTION = (
    "A speech-to-text server that answers OpenAI's audio API. Each path is also there without "
    "`/v1`, with doubled slashes, with a trailing one, and under Azure's "
    "`/openai/deployments/{name}`; there are no redirects. Empty fields count as absent, and "
    "fields that are not listed are ignored, but for `known_speaker_names` and "
    "`known_speaker_references`, which are refused."
)


PAGE_FILES: Schema = {
    content_type: {"schema": {"type": "object"} if content_type == "application/json" else STRING}
    for content_type in page.TYPES.values()
}


def describe() -> dict[str, Any]:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sussurro",
            "version": API_VERSION,
            "description": DESCRIPTION,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"azure": []}],
        "paths": {
            "/": _open("What this is", {**_json("Server"), HTML: {"schema": STRING}}),
            "/page/{name}": {
                **_open("Files of the page that browsers get at `/`", PAGE_FILES, NotFound),
                "parameters": [
                    {
                        "name": "name",
                        "in": "path",
                        "required": True,
                        "description": "One of the files; none is there with SUSSURRO_PAGE=off.",
                        "schema": {"enum": [*page.NAMES]},
                    }
                ],
            },
            "/healthz": _open("Whether the process lives", _json("Alive")),
            "/readyz": _open("Whether it can work now", _json("Ready"), NotReady),
            "/openapi.json": _open(
                "This description", {"application/json": {"schema": {"type": "object"}}}
            ),
            "/docs": _open("The same for people", {HTML: {"schema": STRING}}),
            "/v1/models": _get("The models", _json("ModelList"), KEYED),
            "/v1/models/{model}": {
                **_get("One model", _json("Model"), (*KEYED, ModelNotFound)),
                "parameters": [
                    {
                        "name": "model",
                        "in": "path",
                        "required": True,
                        "description": "Its name, which may hold slashes.",
                        "schema": {"type": "string", "minLength": 1},
                    }
                ],
            },
            metrics.PATH: _get(
                "Figures for Prometheus", {metrics.CONTENT_TYPE: {"schema": STRING}}, KEYED
            ),
            "/v1/jobs": {
                **_get("The caller's jobs, newest first", _json("JobList"), LISTING_JOBS),
                "parameters": PAGING,
            },
            "/v1/jobs/{job_id}": {
                **_get("One job", _json("Job"), SEEING_JOBS),
                "delete": _operation("End a job, or delete its text", _json("Job"), SEEING_JOBS),
                "parameters": [JOB_ID],
            },
            "/v1/jobs/{job_id}/transcript": {
                **_get("A job's text, in any format", _texts("translate"), READING_JOBS),
                "parameters": [JOB_ID, *_shown()],
            },
            "/v1/usage": _get("What callers have used", _json("UsageReport"), KEYED),
            "/v1/audio/transcriptions": {"post": _audio("transcribe")},
            "/v1/audio/translations": {"post": _audio("translate")},
        },
        "components": {
            "schemas": COMPONENTS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "azure": {"type": "apiKey", "in": "header", "name": "api-key"},
            },
        },
    }


class OpenApi:
    """GET /openapi.json; made once."""

    def __init__(self) -> None:
        self._data = json.dumps(describe(), ensure_ascii=False).encode()

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The description."""
        resp.data, resp.content_type = self._data, "application/json"

    on_head = on_get


def _open(summary: str, content: Schema, *errors: type[ServerError]) -> Schema:
    """A path that needs no key."""
    item = _get(summary, content, (*ALWAYS, *errors))
    for operation in item.values():
        operation["security"] = []
    return item


def _get(summary: str, content: Schema, errors: Iterable[type[ServerError]]) -> Schema:
    """A path that is read; HEAD has the same answers without their bodies."""
    operation = _operation(summary, content, errors)
    responses = operation["responses"]
    bodiless = {
        status: {key: value for key, value in response.items() if key != "content"}
        for status, response in responses.items()
    }
    return {
        "get": operation,
        "head": {"summary": summary, "responses": bodiless},
    }


def _operation(summary: str, content: Schema, errors: Iterable[type[ServerError]]) -> Schema:
    """One method of a path that takes no body."""
    responses = {"200": _answer("OK", content), **_refusals(errors)}
    return {"summary": summary, "responses": responses}


def _shown() -> list[Schema]:
    """The fields of a form that may be in the query of a transcript."""
    parameters = []
    for name in SHOWN:
        schema = schema_of(name)
        description = schema.pop("description")
        schema.pop("default", None)
        parameters.append(
            {"name": name, "in": "query", "description": description, "schema": schema}
        )
    return parameters


def _audio(task: Task) -> Schema:
    """One of the two routes that take a recording."""
    return {
        "summary": "Speech to text" if task == "transcribe" else "Speech to English text",
        "parameters": [
            {
                "name": "Prefer",
                "in": "header",
                "description": "`respond-async`: as the field `background`.",
                "schema": {"type": "string"},
            },
            {
                "name": IDEMPOTENCY_KEY,
                "in": "header",
                "description": "The same one with the same request gives the same answer.",
                "schema": {"type": "string", "pattern": "^[!-~]+$", "maxLength": MAX_KEY},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": form_schema(task)}},
        },
        "responses": {
            "200": _answer("The text, in the form that was asked for", _texts(task))
            | {
                "headers": {
                    **_required(HEADERS),
                    **ALLOWANCE,
                    "x-sussurro-warning": {"schema": STRING},
                    **REPLAY,
                }
            },
            "202": _accepted(),
            **_refusals((*TRANSCRIBING, *REPEATING, JobsOff, JobsUnavailable)),
        },
    }


def _accepted() -> Schema:
    """A job instead of a text."""
    answer = _answer("A job, whose text is fetched later", _json("Job"))
    answer["headers"] |= {
        "location": {"required": True, "schema": {"type": "string", "pattern": "^/v1/jobs/"}},
        "preference-applied": {"schema": {"const": "respond-async"}},
        **REPLAY,
        **ALLOWANCE,
    }
    return answer


def form_schema(task: Task) -> Schema:
    """The form of one of the two routes: its fields, and which of them go together."""
    gone = FOR_TRANSCRIPTIONS if task == "translate" else frozenset[str]()
    fields: dict[str, Schema] = {
        "file": {
            "type": "string",
            "format": "binary",
            "description": "Audio, or video with sound; its bytes decide, not its name or type.",
        }
    }
    for name in Fields.model_fields:
        if name not in gone:
            fields[name] = _as_sent(schema_of(name))
    fields["chunking_strategy"]["anyOf"][1] = VadFields.model_json_schema()
    return {
        "type": "object",
        "properties": fields,
        "required": ["file"],
        "allOf": [rule for rule in TOGETHER if _fields_of(rule) <= fields.keys()],
    }


def _as_sent(schema: Schema) -> Schema:
    """As a form can hold it: a list of one is the same as its item, an empty field is absent."""
    kept: Schema = {key: schema.pop(key) for key in ("description", "default") if key in schema}
    kinds: list[Schema] = schema.pop("anyOf", [schema])
    if schema.get("type") == "array":
        items = schema["items"]
        kinds = [of_list({"anyOf": [items, EMPTY]}), items]
    if kinds == [STRING]:
        return {**kept, **STRING}
    return {**kept, "anyOf": [*kinds, EMPTY]}


TRUE: Schema = {"enum": [True, 1]}


def _either(name: str, other: str) -> Schema:
    """Not both of two fields."""
    there = {name: SAID, other: SAID}
    return {"not": {"required": [name, other], "properties": there}}


def _not_both(name: str, other: str) -> Schema:
    """As above, of two that are true or false."""
    return {"not": {"required": [name, other], "properties": {name: TRUE, other: TRUE}}}


def _needs(name: str, asked: Schema, other: str, values: list[Any], default: str | bool) -> Schema:
    """If a field is there, and says this, then another one has one of these values."""
    allowed = [*values, ""] if default in values else values
    needed: Schema = {"properties": {other: {"enum": allowed}}}
    if default not in values:
        needed["required"] = [other]
    return {"if": {"required": [name], "properties": {name: asked}}, "then": needed}


VERBOSE = ["verbose_json"]
TOGETHER: list[Schema] = [
    _either("languages", "language"),
    _either("keywords", "hotwords"),
    _not_both("stream", "background"),
    _needs("stream", TRUE, "response_format", ["json", "text"], "json"),
    _needs("include", SAID, "response_format", ["json"], "json"),
    _needs("timestamp_granularities", SAID, "response_format", VERBOSE, "json"),
    _needs("x_dropped", TRUE, "response_format", VERBOSE, "json"),
    _needs("x_formats", SAID, "response_format", ["json", "verbose_json"], "json"),
    # Or `Prefer: respond-async`, of which a body's schema knows nothing.
    _needs("webhook_url", SAID, "background", TRUE["enum"], default=False),
    _needs("chunking_strategy", {"type": "object"}, "mode", ["fast"], "fast"),
]
"""What `options` checks of fields that stand together."""


def _fields_of(rule: Schema) -> set[str]:
    first = rule.get("if", rule.get("not"))
    assert first is not None
    return set(first["required"])


def _texts(task: Task) -> Schema:
    content: Schema = {
        "application/json": {
            "schema": {"anyOf": [named("Transcription"), named("VerboseTranscription")]}
        },
        PLAIN: {"schema": STRING},
        VTT: {"schema": {"type": "string", "pattern": "^WEBVTT\n"}},
    }
    if task == "transcribe":
        content[events.CONTENT_TYPE] = {"schema": EVENT}
    return content


def _json(name: str) -> Schema:
    return {"application/json": {"schema": named(name)}}


def _answer(description: str, content: Schema) -> Schema:
    return {"description": description, "content": content, "headers": _required(HEADERS)}


def _required(headers: Mapping[str, Schema]) -> Schema:
    return {name: {"required": True, **header} for name, header in headers.items()}


def _refusals(errors: Iterable[type[ServerError]]) -> Schema:
    """Errors by status, each with its codes."""
    by_status: dict[int, list[type[ServerError]]] = {}
    for error in errors:
        by_status.setdefault(error.status, []).append(error)
    return {
        str(status): _refusal(HTTPStatus(status), listed)
        for status, listed in sorted(by_status.items())
    }


def _refusal(status: HTTPStatus, errors: list[type[ServerError]]) -> Schema:
    meanings = [f"`{error.code}`: {(error.__doc__ or '').splitlines()[0]}" for error in errors]
    headers = {**HEADERS, "content-language": {"schema": {"enum": ["en", "pt-BR"]}}}
    if Unauthenticated in errors:
        headers["www-authenticate"] = {"schema": STRING}
    answer = _answer("\n\n".join(meanings), {"application/json": {"schema": of_error(errors)}})
    answer["headers"] = {**_required(headers), **ALLOWANCE, "x-should-retry": {"schema": RETRY}}
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        answer["headers"]["retry-after"] = {"schema": {"type": "string", "pattern": "^[1-9]"}}
    return answer
