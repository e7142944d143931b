"""What answers look like, as JSON Schemas: the bodies that `formats` and `events` write.

Knows: names, types and bounds of every body's fields.
Must not know: which route answers with which of them (`openapi` does).
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

from server.errors import ServerError

Schema: TypeAlias = dict[str, Any]

STRING: Schema = {"type": "string"}
AMOUNT: Schema = {"type": "number", "minimum": 0}
SECONDS = AMOUNT
COUNT: Schema = {"type": "integer", "minimum": 0}
MAYBE_COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}


def of_object(optional: Iterable[str] = (), /, **properties: Schema) -> Schema:
    """An object with these properties and no other ones."""
    gone = frozenset(optional)
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in gone],
        "additionalProperties": False,
    }


def of_list(items: Schema) -> Schema:
    """A list of one kind of thing."""
    return {"type": "array", "items": items}


def named(name: str) -> Schema:
    """A schema of `COMPONENTS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def of_error(errors: Iterable[type[ServerError]]) -> Schema:
    """OpenAI's error body, with the codes and types that these errors have."""
    listed = list(errors)
    return of_object(
        error=of_object(
            message=STRING,
            type={"enum": sorted({error.type for error in listed})},
            param={"type": ["string", "null"]},
            code={"enum": sorted(str(error.code) for error in listed)},
        )
    )


DURATION_USAGE = of_object(type={"const": "duration"}, seconds=COUNT)
TOKEN_USAGE = of_object(
    type={"const": "tokens"},
    input_tokens=COUNT,
    output_tokens=COUNT,
    total_tokens=COUNT,
    input_token_details=of_object(audio_tokens=COUNT, text_tokens=COUNT),
)
LOGPROB = of_object(
    token=STRING,
    logprob={"type": "number", "maximum": 0},
    bytes=of_list({"type": "integer", "minimum": 0, "maximum": 255}),
)
SEGMENT = of_object(
    id=COUNT,
    seek=COUNT,
    start=SECONDS,
    end=SECONDS,
    text=STRING,
    tokens=of_list(COUNT),
    temperature={"type": "number", "minimum": 0, "maximum": 1},
    avg_logprob={"type": "number"},
    compression_ratio={"type": "number", "minimum": 0},
    no_speech_prob={"type": "number", "minimum": 0, "maximum": 1},
)
FORMATS: Schema = {"type": "object", "additionalProperties": STRING}
"""Whole bodies by the name of their format."""
DROPPED = of_object(start=SECONDS, end=SECONDS, reason=STRING)

COMPONENTS: dict[str, Schema] = {
    "DurationUsage": DURATION_USAGE,
    "TokenUsage": TOKEN_USAGE,
    "Logprob": LOGPROB,
    "Segment": SEGMENT,
    "Word": of_object(word=STRING, start=SECONDS, end=SECONDS),
    "Dropped": DROPPED,
    "Transcription": of_object(
        ("logprobs", "x_formats"),
        text=STRING,
        usage=named("DurationUsage"),
        logprobs=of_list(named("Logprob")),
        x_formats=FORMATS,
    ),
    "VerboseTranscription": of_object(
        ("words", "segments", "x_warnings", "x_dropped", "x_formats"),
        task={"enum": ["transcribe", "translate"]},
        language=STRING,
        duration=SECONDS,
        text=STRING,
        words=of_list(named("Word")),
        segments=of_list(named("Segment")),
        usage=named("DurationUsage"),
        x_warnings=of_list(STRING),
        x_dropped=of_list(named("Dropped")),
        x_formats=FORMATS,
    ),
    "TextDelta": of_object(
        ("logprobs",),
        type={"const": "transcript.text.delta"},
        delta=STRING,
        logprobs=of_list(named("Logprob")),
    ),
    "TextDone": of_object(
        ("logprobs", "x_formats"),
        type={"const": "transcript.text.done"},
        text=STRING,
        usage=named("TokenUsage"),
        logprobs=of_list(named("Logprob")),
        x_formats=FORMATS,
    ),
    "Job": of_object(
        id=STRING,
        object={"const": "transcription.job"},
        status={"enum": ["queued", "running", "succeeded", "failed", "cancelled", "expired"]},
        task={"enum": ["transcribe", "translate"]},
        model=STRING,
        audio_seconds=SECONDS,
        done_seconds=SECONDS,
        created_at=COUNT,
        started_at=MAYBE_COUNT,
        finished_at=MAYBE_COUNT,
        expires_at=MAYBE_COUNT,
        jobs_ahead=MAYBE_COUNT,
        estimated_finish=MAYBE_COUNT,
        error={"anyOf": [{"type": "null"}, of_object(code=STRING, message=STRING)]},
    ),
    "JobList": of_object(
        object={"const": "list"}, data=of_list(named("Job")), has_more={"type": "boolean"}
    ),
    "Model": of_object(
        id=STRING, object={"const": "model"}, created=COUNT, owned_by={"const": "sussurro"}
    ),
    "ModelList": of_object(object={"const": "list"}, data=of_list(named("Model"))),
    "Usage": of_object(
        name=STRING,
        date={"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
        requests=COUNT,
        audio_minutes=AMOUNT,
    ),
    "UsageReport": of_object(object={"const": "list"}, data=of_list(named("Usage"))),
    "Alive": of_object(status={"const": "ok"}),
    "Engine": of_object(engine=STRING, build={"type": ["string", "null"]}, why=STRING),
    "Ready": of_object(
        status={"const": "ok"}, engines={"type": "object", "additionalProperties": named("Engine")}
    ),
    "Server": of_object(
        status={"const": "ok"},
        name={"const": "sussurro"},
        links={"type": "object", "additionalProperties": STRING},
    ),
}
