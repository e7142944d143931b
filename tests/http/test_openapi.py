"""`/openapi.json` says what the server does, and `/docs` says it to people."""

import base64
import hashlib
import inspect
import json
import re
from typing import Any

import pytest
from edge_bench import FILE, Bench, post
from falcon import App
from falcon.inspect import inspect_routes
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from server import __version__, errors
from server.errors import InvalidOption, ServerError
from server.http.docs_page import STYLE, page
from server.http.fields import Fields
from server.http.openapi import (
    COMPONENTS,
    READING_JOBS,
    REPEATING,
    TRANSCRIBING,
    describe,
    form_schema,
)
from server.http.options import parse
from server.types import Task, TranscriptionOptions

DESCRIPTION = describe()


def checked(schema: dict[str, Any]) -> Draft202012Validator:
    """A validator that knows the description's components."""
    return Draft202012Validator({**schema, "components": {"schemas": COMPONENTS}})


def test_it_is_a_valid_description() -> None:
    """Each of its schemas is one; every reference leads somewhere."""
    text = json.dumps(DESCRIPTION)

    assert ("3.1.0", "1") == (DESCRIPTION["openapi"], DESCRIPTION["info"]["version"])
    assert __version__ not in text
    for name in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert name in COMPONENTS
    for schema in (*COMPONENTS.values(), form_schema("transcribe"), form_schema("translate")):
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("path", "content_type"),
    [("/openapi.json", "application/json"), ("/docs", "text/html; charset=utf-8")],
)
def test_it_is_there_without_a_key(bench: Bench, path: str, content_type: str) -> None:
    """It says nothing about this server that is not in its source."""
    response = bench.request("GET", path, headers={"Authorization": ""})

    assert (200, content_type) == (response.status_code, response.headers["content-type"])
    assert 200 == bench.request("HEAD", path, headers={"Authorization": ""}).status_code
    if path == "/openapi.json":
        assert DESCRIPTION == response.json()


def test_every_route_and_method_is_described(bench: Bench) -> None:
    """What Falcon serves, OPTIONS aside, and nothing else."""
    app = bench.app._app
    assert isinstance(app, App)
    served = {
        (route.path.replace(":path", ""), method.method.lower())
        for route in inspect_routes(app)
        for method in route.methods
        if method.method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
        and not method.internal
    }
    described = {
        (path, method)
        for path, item in DESCRIPTION["paths"].items()
        for method in item
        if method != "parameters"
    }

    assert served == described


def test_every_error_is_described_where_it_can_happen() -> None:
    """All of the tree, but for those of other routes and methods."""
    every = {
        error
        for error in vars(errors).values()
        if inspect.isclass(error) and issubclass(error, ServerError) and error is not ServerError
    }

    described = {*TRANSCRIBING, *REPEATING, *READING_JOBS}
    assert {"NotFound", "MethodNotAllowed"} == {e.__name__ for e in every - described}


@pytest.mark.parametrize("task", ["transcribe", "translate"])
def test_every_field_is_described(task: Task) -> None:
    """With what it means; fields that a translation refuses are not in its form."""
    properties = form_schema(task)["properties"]
    for name in properties.keys() - {"file"}:
        assert name in Fields.model_fields
        assert properties[name]["description"]
    missing = Fields.model_fields.keys() - properties.keys()
    if task == "transcribe":
        assert not missing
    for name in missing:
        value = {"stream": "true", "include": "logprobs", "timestamp_granularities": "word"}
        fields = {name: [value.get(name, "pt")], "response_format": ["verbose_json"]}
        with pytest.raises(InvalidOption):
            parse(fields, task, TranscriptionOptions())


VALUES: dict[str, list[Any]] = {
    "language": ["pt", "pt-BR", "klingon", ""],
    "languages": [["pt"], ["pt", "en"], ["klingon"], [""]],
    "keywords": [["a"], ["a", "b"], [""]],
    "hotwords": ["a", ""],
    "response_format": ["json", "text", "srt", "verbose_json", "vtt", "xml", ""],
    "temperature": ["", 0, 0.5, 1, 1.5, -1],
    "timestamp_granularities": [["word"], ["word", "segment"], ["syllable"], [""]],
    "include": [["logprobs"], ["else"], [""]],
    "stream": [True, False, 1, 0, "perhaps"],
    "chunking_strategy": [
        "auto",
        "manual",
        {"type": "server_vad"},
        {"type": "server_vad", "threshold": 0.2, "silence_duration_ms": 900},
        {"type": "server_vad", "threshold": 2},
        {"type": "server_vad", "silence_duration_ms": "900"},
        {"type": "else"},
        {"threshold": 0.5},
        {"type": "server_vad", "more": 1},
    ],
    "mode": ["fast", "accurate", "slow"],
    "compression_ratio_threshold": [2, 0, 101],
    "logprob_threshold": [-1, 1],
    "no_speech_threshold": [0.5, 2],
    "x_dropped": [True, False],
    "background": [True, False, 1, "perhaps"],
    "webhook_url": ["https://a.example/hook", ""],
    "x_formats": [["srt"], ["vtt", "text"], ["xml"], [""]],
    "prompt": ["x"],
    "model": ["x"],
}


def as_form(value: Any) -> list[str]:
    """A value as a form holds it."""
    if isinstance(value, list):
        return [text for item in value for text in as_form(item)]
    return [value if isinstance(value, str) else json.dumps(value)]


FORMS = {
    task: (form_schema(task)["properties"].keys(), Draft202012Validator(form_schema(task)))
    for task in ("transcribe", "translate")
}


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries({}, optional={n: st.sampled_from(v) for n, v in VALUES.items()}),
    st.sampled_from(["transcribe", "translate"]),
)
def test_the_form_that_is_described_is_the_one_that_is_taken(
    fields: dict[str, Any], task: Task
) -> None:
    """Also which fields go together: what the schema allows is taken, and nothing else."""
    names, validator = FORMS[task]
    known = {name: value for name, value in fields.items() if name in names}
    valid = validator.is_valid({"file": "x", **known})
    try:
        form = {name: as_form(value) for name, value in known.items()}
        parse(form, task, TranscriptionOptions())
        taken = True
    except InvalidOption:
        taken = False

    assert valid == taken, known


def test_no_value_of_the_table_is_of_a_field_that_is_gone() -> None:
    """And every field has some."""
    assert VALUES.keys() == Fields.model_fields.keys()


@pytest.mark.parametrize("response_format", ["json", "verbose_json"])
def test_answers_are_as_described(bench: Bench, response_format: str) -> None:
    """Each in its own schema, with no field besides."""
    name = {"json": "Transcription", "verbose_json": "VerboseTranscription"}[response_format]
    extra = {"json": ("include", "logprobs"), "verbose_json": ("x_dropped", "true")}
    more = (extra[response_format], ("x_formats", "srt"))
    response = post(bench, ("response_format", response_format), *more, FILE)

    checked(COMPONENTS[name]).validate(response.json())


@pytest.mark.parametrize("status", ["200", "400", "429"])
def test_headers_of_a_limited_caller_are_described(status: str) -> None:
    """On a recording's answers, and that they may be missing."""
    answers = DESCRIPTION["paths"]["/v1/audio/transcriptions"]["post"]["responses"]
    headers = answers[status]["headers"]
    for name in ("limit", "remaining", "reset"):
        assert not headers[f"x-ratelimit-{name}-requests"].get("required")
    assert ("x-should-retry" in headers) == (status != "200")


def test_events_are_as_described(bench: Bench) -> None:
    """The last one is all that this stand-in tells."""
    fields = (("stream", "true"), ("include", "logprobs"), ("x_formats", "srt"))
    response = post(bench, *fields, FILE)
    (event,) = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]

    checked(COMPONENTS["TextDone"]).validate(json.loads(event))


def test_the_page_names_every_route_field_and_code() -> None:
    """It is made of the description."""
    text = page(DESCRIPTION)

    for path in DESCRIPTION["paths"]:
        assert path in text
    for name in (*Fields.model_fields, "file"):
        assert f"<code>{name}</code>" in text
    for error in TRANSCRIBING:
        assert f"<code>{error.code}</code>" in text
    assert "<td>a file<td>" in text
    assert "<td>list of <code>word</code>, <code>segment</code><td>" in text
    assert "<td>0 to 1<td>" in text


def test_the_page_loads_and_runs_nothing(bench: Bench) -> None:
    """Its policy forbids everything but its own style, which is the one that is in it."""
    response = bench.request("GET", "/docs")
    policy = response.headers["content-security-policy"]
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

    assert policy.startswith("default-src 'none'")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert f"<style>{STYLE}</style>" in response.text
    assert "nosniff" == response.headers["x-content-type-options"]
    assert 1 == len(response.headers.get_list("content-security-policy"))
    assert not re.search(r"<script|\son\w+=|style=|https?://|//[a-z]", response.text)


def test_the_page_escapes_what_it_shows() -> None:
    """Its source is ours, yet a description may hold `<`."""
    description = {**DESCRIPTION, "info": {**DESCRIPTION["info"], "title": "<script>"}}

    assert "<script>" not in page(description)
