"""Our answers are OpenAI's answers: every body against the facts of OpenAI's description."""

import json
from dataclasses import replace
from typing import Any

import openai_schemas as theirs
import pytest
from edge_bench import FILE, TRANSCRIPT, Bench, post
from jsonschema import Draft202012Validator
from openai.types import Model
from openai.types.audio import (
    Transcription,
    TranscriptionTextDoneEvent,
    TranscriptionVerbose,
    Translation,
    TranslationVerbose,
)
from pydantic import BaseModel

from server.types import Dropped

SDK_TYPES: dict[int, tuple[type[BaseModel], ...]] = {
    id(theirs.JSON): (Transcription, Translation),
    id(theirs.VERBOSE_JSON): (TranscriptionVerbose, TranslationVerbose),
    id(theirs.DONE): (TranscriptionTextDoneEvent,),
    id(theirs.MODEL): (Model,),
}
"""The types that OpenAI's Python SDK makes of a body; by itself it does not check them."""


def check(schema: dict[str, Any], body: object) -> None:
    """Raises with the place that is wrong; also where the SDK's own types would not have it."""
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(body)
    for sdk_type in SDK_TYPES.get(id(schema), ()):
        sdk_type.model_validate(body, strict=True)


BODIES = [
    (theirs.JSON, [("response_format", "json")]),
    (theirs.JSON, [("include[]", "logprobs")]),
    (theirs.VERBOSE_JSON, [("response_format", "verbose_json")]),
    (
        theirs.VERBOSE_JSON,
        [("response_format", "verbose_json"), ("timestamp_granularities[]", "word")],
    ),
    (
        theirs.VERBOSE_JSON,
        [
            ("response_format", "verbose_json"),
            ("timestamp_granularities[]", "word"),
            ("timestamp_granularities[]", "segment"),
            ("x_dropped", "true"),
            ("x_formats[]", "srt"),
        ],
    ),
]


@pytest.mark.parametrize(("schema", "fields"), BODIES)
@pytest.mark.parametrize("silent", [False, True])
def test_transcriptions(
    bench: Bench, schema: dict[str, Any], fields: list[tuple[str, str]], silent: bool
) -> None:
    """Also with warnings and with what was left out, and of a recording without a word."""
    bench.loader.warnings = ("audio_truncated",)
    empty = replace(TRANSCRIPT, text="", segments=(), words=())
    bench.transcriber.transcript = replace(
        empty if silent else TRANSCRIPT,
        warnings=("audio_truncated",),
        dropped=(Dropped(0.0, 1.5, "no_voice"),),
    )
    response = post(bench, *fields, FILE)

    assert 200 == response.status_code
    check(schema, response.json())


@pytest.mark.parametrize("response_format", ["json", "verbose_json"])
def test_translations(bench: Bench, response_format: str) -> None:
    """The same bodies."""
    path = "/v1/audio/translations"
    response = post(bench, ("response_format", response_format), FILE, path=path)
    schema = {"json": theirs.JSON, "verbose_json": theirs.VERBOSE_JSON}[response_format]

    check(schema, response.json())


@pytest.mark.parametrize("include", [[], [("include[]", "logprobs")], [("x_formats[]", "vtt")]])
def test_events(bench: Bench, include: list[tuple[str, str]]) -> None:
    """The last one; tests/http/test_events.py has the others, on a socket."""
    response = post(bench, ("stream", "true"), *include, FILE)
    *deltas, done = [json.loads(line[6:]) for line in response.text.splitlines() if line]

    check(theirs.DONE, done)
    assert deltas == []


def test_models(bench: Bench) -> None:
    """The list and each of them."""
    listed = bench.request("GET", "/v1/models").json()
    check(theirs.MODELS, listed)
    for model in listed["data"]:
        check(theirs.MODEL, bench.request("GET", f"/v1/models/{model['id']}").json())


@pytest.mark.parametrize(
    ("status", "method", "path", "headers"),
    [
        (400, "POST", "/v1/audio/transcriptions", {"Content-Type": "multipart/form-data"}),
        (401, "GET", "/v1/models", {"Authorization": ""}),
        (404, "GET", "/v1/models/nope", {}),
        (404, "GET", "/v1/nope", {}),
        (405, "DELETE", "/v1/models", {}),
        (415, "POST", "/v1/audio/translations", {"Content-Type": "audio/ogg"}),
    ],
)
def test_errors(bench: Bench, status: int, method: str, path: str, headers: dict[str, str]) -> None:
    """All four keys, always."""
    response = bench.request(method, path, headers=headers)

    assert status == response.status_code
    check(theirs.ERROR, response.json())


def test_these_schemas_notice_what_is_wrong() -> None:
    """A field too few, one too many, and one of another type."""
    good = {"text": "a"}
    for bad in ({}, {**good, "more": 1}, {"text": None}, {**good, "usage": {"type": "duration"}}):
        assert not Draft202012Validator(theirs.JSON).is_valid(bad)
    assert Draft202012Validator(theirs.JSON).is_valid(good)
