"""The fields of a form: OpenAI's names, types, bounds and defaults, and what each one means.

Knows: every field that this server reads; its description goes into `/openapi.json`, too.
Must not know: how fields arrive, which of them go together, what becomes of them.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from server import texts
from server.decoding.languages import LANGUAGES, to_language_code
from server.formats import Granularity, ResponseFormat
from server.texts import Text
from server.types import Mode, ServerVad

LISTS = frozenset({"include", "keywords", "languages", "timestamp_granularities", "x_formats"})
"""Fields that may come several times, or as a JSON list."""

CHUNKING = "chunking_strategy"
"""The only field that may be an object."""

UNSUPPORTED = {
    "known_speaker_names": texts.NO_SPEAKERS,
    "known_speaker_references": texts.NO_SPEAKERS,
}
"""OpenAI's fields that would change the answer, and that we would have to ignore."""

Milliseconds = Annotated[int, Field(ge=0, le=10_000)]


_VAD = ServerVad()

_LANGUAGE = {
    "type": "string",
    "pattern": f"^({'|'.join(LANGUAGES)})([-_][A-Za-z0-9]+)*$|^({'|'.join(LANGUAGES.values())})$",
}
"""A language as we take it, in lower case; any other case will do as well."""


def _to_code(language: str) -> str:
    return to_language_code(language, param="languages")


def _flag(value: object) -> object:
    """Forms have no booleans; more words than these would only hide a mistake."""
    return {"true": True, "1": True, "false": False, "0": False}.get(str(value).strip().lower())


Flag = Annotated[
    bool, BeforeValidator(_flag), WithJsonSchema({"enum": [True, False, 1, 0], "default": False})
]


class VadFields(BaseModel):
    """`chunking_strategy` as an object."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    type: Literal["server_vad"]
    threshold: float = Field(_VAD.threshold, ge=0, le=1, allow_inf_nan=False)
    prefix_padding_ms: Milliseconds = _VAD.prefix_padding_ms
    silence_duration_ms: Milliseconds = _VAD.silence_duration_ms


class Fields(BaseModel):
    """The fields of a form; defaults are OpenAI's. None leaves it to the settings."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    model: str | None = Field(
        None,
        description="A name of `GET /v1/models`; the first one also answers for `whisper-1`, and "
        "where there is none.",
    )
    language: Annotated[str, AfterValidator(to_language_code), WithJsonSchema(_LANGUAGE)] | None = (
        Field(
            None,
            description="The language that is spoken: a code (`pt`), a tag (`pt-BR`) or an English "
            "name. It is found where there is none. Not for translations.",
        )
    )
    languages: (
        tuple[Annotated[str, AfterValidator(_to_code), WithJsonSchema(_LANGUAGE)], ...] | None
    ) = Field(
        None, description="Languages that may be spoken: one of them is found. Not with `language`."
    )
    prompt: str | None = Field(
        None, description="Text before the recording: names and spellings to expect."
    )
    keywords: tuple[str, ...] | None = Field(
        None, description="Words to expect in every window, as `hotwords`. Not with `hotwords`."
    )
    response_format: ResponseFormat = Field("json", description="The form of the answer.")
    temperature: float = Field(
        0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Where the ladder of temperatures starts; it is climbed where a text looks "
        "wrong.",
    )
    timestamp_granularities: frozenset[Granularity] | None = Field(
        None,
        description="What `verbose_json` is to hold; `segment` where there is none. For "
        "transcriptions only.",
    )
    include: frozenset[Literal["logprobs"]] | None = Field(
        None,
        description="`logprobs`: the tokens of the text with their log probabilities. For "
        "transcriptions as `json`, streamed or not.",
    )
    stream: Flag = Field(
        False,
        description="Server-sent events as the text comes. For transcriptions as `json` or `text`.",
    )
    chunking_strategy: Literal["auto"] | VadFields | None = Field(
        None,
        description="Where a recording is cut: `auto` (also without it), at quiet places; an "
        "object of type `server_vad`, where the voice detector hears none.",
    )

    # Not OpenAI's: names are openai-whisper's and faster-whisper's where they have one.
    mode: Mode | None = Field(
        None,
        description="Not OpenAI's. `fast`: windows side by side; `accurate`: one after the other, "
        "each with the text before it.",
    )
    hotwords: str | None = Field(
        None,
        description="Not OpenAI's. Words to expect in every window; `prompt` reaches the "
        "first one only.",
    )
    compression_ratio_threshold: float | None = Field(
        None,
        gt=0,
        le=100,
        description="Not OpenAI's. A text that repeats itself more is tried again; 2.4 by default.",
    )
    logprob_threshold: float | None = Field(
        None,
        ge=-100,
        le=0,
        description="Not OpenAI's. A text that is less likely on average is tried again; -1 by "
        "default.",
    )
    no_speech_threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Not OpenAI's. From here on a window may hold no speech; 0.6 by default.",
    )
    background: Flag = Field(
        False,
        description="Not OpenAI's here. 202 and a job instead of the text, which is fetched later; "
        "so does the header `Prefer: respond-async`. Not with `stream`.",
    )
    webhook_url: str | None = Field(
        None,
        max_length=2_048,
        description="Not OpenAI's. Where the end of the job is told, by a signed POST. Only with "
        "`background` or `Prefer: respond-async`.",
    )
    x_dropped: Flag = Field(
        False, description="Not OpenAI's. `verbose_json` tells what was left out, and why."
    )
    x_formats: frozenset[ResponseFormat] | None = Field(
        None,
        description="Not OpenAI's. `json`, also streamed, and `verbose_json` hold the same "
        "transcript in these forms, too.",
    )


KNOWN = frozenset(Fields.model_fields) | UNSUPPORTED.keys()
"""Fields that are read at all; OpenAI's clients may send others, which mean nothing to us."""


def schema_of(name: str) -> dict[str, Any]:
    """A field's JSON Schema, without the null that stands for an absent field."""
    schema: dict[str, Any] = dict(Fields.model_json_schema()["properties"][name])
    some = [each for each in schema.pop("anyOf", ()) if each.get("type") != "null"]
    if len(some) == 1:
        schema |= some[0]
    elif some:
        schema["anyOf"] = some
    schema.pop("title", None)
    if schema.get("default") is None:
        schema.pop("default", None)
    return schema


def allowed(name: str) -> Text:
    """What a field may be, in words, from its type and bounds."""
    if name == CHUNKING:
        return texts.CHUNKING
    schema = schema_of(name)
    schema = schema.get("items", schema)
    if schema.get("type") == "number":
        bound = texts.NUMBER_ABOVE if "exclusiveMinimum" in schema else texts.NUMBER_BETWEEN
        least = schema.get("minimum", schema.get("exclusiveMinimum"))
        return bound.filled(least=least, most=schema["maximum"])
    if schema.keys().isdisjoint({"enum", "const"}):
        return texts.ONLY_TEXT
    values = schema.get("enum") or [schema["const"]]
    return texts.ONE_OF.filled(values=", ".join(str(value).lower() for value in values))
