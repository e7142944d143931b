"""A form's fields as options: OpenAI's names, types and ranges.

Knows: which field means what, and which ones OpenAI has that this server does not.
Must not know: how fields arrived, or which models are loaded.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from server import texts
from server.decoding.languages import to_language_code
from server.errors import InvalidOption
from server.formats import Granularity, ResponseFormat
from server.texts import Text
from server.types import Mode, Task, TranscriptionOptions

TEMPERATURE_STEP = 0.2
"""openai-whisper's `--temperature_increment_on_fallback`."""

LISTS = frozenset({"timestamp_granularities"})
"""Fields that may come several times, or as a JSON list."""

UNSUPPORTED = {
    "include": texts.NO_LOGPROBS,
    "languages": texts.NO_LANGUAGES,
    "keywords": texts.NO_KEYWORDS,
    "known_speaker_names": texts.NO_SPEAKERS,
    "known_speaker_references": texts.NO_SPEAKERS,
}
"""OpenAI's fields that would change the answer, and that we would have to ignore."""


class Fields(BaseModel):
    """The fields of a form; defaults are OpenAI's. None leaves it to the settings."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    model: str | None = None
    language: Annotated[str, AfterValidator(to_language_code)] | None = None
    prompt: str | None = None
    response_format: ResponseFormat = "json"
    temperature: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    timestamp_granularities: frozenset[Granularity] | None = None
    stream: bool = False
    chunking_strategy: Literal["auto"] | None = None

    # Not OpenAI's: names are openai-whisper's and faster-whisper's where they have one.
    mode: Mode | None = None
    hotwords: str | None = None
    compression_ratio_threshold: float | None = Field(None, gt=0, le=100)
    logprob_threshold: float | None = Field(None, ge=-100, le=0)
    no_speech_threshold: float | None = Field(None, ge=0, le=1)
    x_dropped: bool = False


OURS = (
    "mode",
    "hotwords",
    "compression_ratio_threshold",
    "logprob_threshold",
    "no_speech_threshold",
)
"""Fields that go into the options as they are."""

KNOWN = frozenset(Fields.model_fields) | UNSUPPORTED.keys()
"""Fields that are read at all; OpenAI's clients may send others, which mean nothing to us."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a caller asked for; `model` is None for the default one."""

    model: str | None
    options: TranscriptionOptions
    response_format: ResponseFormat
    granularities: frozenset[Granularity]
    show_dropped: bool
    stream: bool


def parse(
    fields: Mapping[str, Sequence[str]], task: Task, defaults: TranscriptionOptions
) -> Wanted:
    """Check a form's fields; `defaults` are what the settings say.

    Raises:
        InvalidOption: the first thing that is wrong, with the field's name.
    """
    wanted = _validated(fields)
    if wanted.stream and (task == "translate" or wanted.response_format not in ("json", "text")):
        raise InvalidOption(texts.STREAM_NEEDS_TEXT, param="stream")
    if task == "translate" and wanted.language:
        raise InvalidOption(texts.TRANSLATION_LANGUAGE, param="language")
    granularities = wanted.timestamp_granularities
    if granularities and (wanted.response_format != "verbose_json" or task == "translate"):
        name = "timestamp_granularities"
        raise InvalidOption(texts.NEEDS_VERBOSE_TRANSCRIPTION.filled(name=name), param=name)
    granularities = granularities or frozenset[Granularity]({"segment"})
    if wanted.x_dropped and wanted.response_format != "verbose_json":
        raise InvalidOption(texts.NEEDS_VERBOSE.filled(name="x_dropped"), param="x_dropped")
    ours = {name: value for name in OURS if (value := getattr(wanted, name)) is not None}
    options = replace(
        defaults,
        task=task,
        language=wanted.language,
        prompt=wanted.prompt,
        temperatures=ladder(wanted.temperature),
        # Subtitles are cut between words, so they need to know where words are.
        word_timestamps="word" in granularities or wanted.response_format in ("srt", "vtt"),
        **ours,
    )
    return Wanted(
        wanted.model,
        options,
        wanted.response_format,
        granularities,
        show_dropped=wanted.x_dropped,
        stream=wanted.stream,
    )


def ladder(temperature: float) -> tuple[float, ...]:
    """The temperatures to try, up to 1: openai-whisper's command line starts at the given one.

    OpenAI's API says the same of 0; of others it says nothing, and one failed try would be final.
    """
    steps = int((1.0 - temperature) / TEMPERATURE_STEP + 1e-6)
    return tuple(round(temperature + TEMPERATURE_STEP * i, 6) for i in range(steps + 1))


def _validated(fields: Mapping[str, Sequence[str]]) -> Fields:
    values: dict[str, Any] = {}
    for name, raw in fields.items():
        given = [value for value in raw if value.strip()]  # some clients send empty fields
        if not given:
            continue
        if name in UNSUPPORTED:
            raise InvalidOption(UNSUPPORTED[name].filled(name=name), param=name)
        if name in LISTS:
            values[name] = [item for value in given for item in _items(value)]
        elif len(given) > 1:
            text = texts.FIELD_TWICE.filled(name=name, count=len(given))
            raise InvalidOption(text, param=name)
        else:
            values[name] = given[0]
    if values.get("response_format") == "diarized_json":
        raise InvalidOption(texts.NO_DIARIZED_JSON, param="response_format")
    try:
        return Fields.model_validate(values)
    except ValidationError as error:
        name = str(error.errors(include_input=False, include_url=False)[0]["loc"][0])
        text = texts.WRONG_VALUE.filled(name=name, allowed=allowed(name))
        raise InvalidOption(text, param=name) from None


def allowed(name: str) -> Text:
    """What a field may be, in words, from its type and bounds in `Fields`."""
    schema = Fields.model_json_schema()["properties"][name]
    schema = next((s for s in schema.get("anyOf", ()) if s.get("type") != "null"), schema)
    schema = schema.get("items", schema)
    if schema["type"] == "boolean":
        return texts.ONE_OF.filled(values="true, false")
    if schema["type"] == "number":
        bound = texts.NUMBER_ABOVE if "exclusiveMinimum" in schema else texts.NUMBER_BETWEEN
        least = schema.get("minimum", schema.get("exclusiveMinimum"))
        return bound.filled(least=least, most=schema["maximum"])
    values = schema.get("enum") or [schema["const"]]
    return texts.ONE_OF.filled(values=", ".join(values))


def _items(value: str) -> list[str]:
    """A JSON list's items, or the bare value."""
    try:
        items = json.loads(value)
    except ValueError:
        return [value.strip()]
    return [str(item) for item in items] if isinstance(items, list) else [value]
