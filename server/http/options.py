"""A form's fields as options: which go together, and what they ask for.

Knows: what OpenAI's fields and ours mean for a transcription.
Must not know: how fields arrived, or which models are loaded.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from server import texts
from server.errors import InvalidOption
from server.formats import Granularity, ResponseFormat
from server.http.fields import CHUNKING, LISTS, UNSUPPORTED, Fields, VadFields, allowed
from server.types import ServerVad, Task, TranscriptionOptions

TEMPERATURE_STEP = 0.2
"""openai-whisper's `--temperature_increment_on_fallback`."""

OURS = (
    "mode",
    "hotwords",
    "compression_ratio_threshold",
    "logprob_threshold",
    "no_speech_threshold",
)
"""Fields that go into the options as they are."""

SAME = (("languages", "language"), ("keywords", "hotwords"))
"""Fields that say the same thing."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a caller asked for; `model` is None for the default one.

    `languages` are the codes that the model has to know, each with the field that named it.
    """

    model: str | None
    options: TranscriptionOptions
    response_format: ResponseFormat
    granularities: frozenset[Granularity]
    show_dropped: bool
    stream: bool
    logprobs: bool = False
    also: frozenset[ResponseFormat] = frozenset()
    languages: tuple[tuple[str, str], ...] = ()
    background: bool = False
    webhook_url: str | None = None


def parse(
    fields: Mapping[str, Sequence[str]], task: Task, defaults: TranscriptionOptions
) -> Wanted:
    """Check a form's fields; `defaults` are what the settings say.

    Raises:
        InvalidOption: the first thing that is wrong, with the field's name.
    """
    wanted = _validated(fields)
    _check_together(wanted, task, wanted.mode or defaults.mode)
    if wanted.webhook_url and not wanted.background:
        raise InvalidOption(texts.WEBHOOK_NEEDS_JOB, param="webhook_url")
    granularities = wanted.timestamp_granularities or frozenset[Granularity]({"segment"})
    ours = {name: value for name in OURS if (value := getattr(wanted, name)) is not None}
    if wanted.keywords:
        ours["hotwords"] = ", ".join(wanted.keywords)
    if wanted.languages:
        ours["languages"] = wanted.languages
    also = wanted.x_formats or frozenset[ResponseFormat]()
    options = replace(
        defaults,
        task=task,
        language=wanted.language,
        prompt=wanted.prompt,
        temperatures=ladder(wanted.temperature),
        # Subtitles are cut between words, so they need to know where words are.
        word_timestamps="word" in granularities
        or not {"srt", "vtt"}.isdisjoint({wanted.response_format, *also}),
        server_vad=_server_vad(wanted),
        **ours,
    )
    return Wanted(
        wanted.model,
        options,
        wanted.response_format,
        granularities,
        show_dropped=wanted.x_dropped,
        stream=wanted.stream,
        logprobs=bool(wanted.include),
        also=also,
        background=wanted.background,
        webhook_url=wanted.webhook_url,
        languages=(
            *((("language", wanted.language),) if wanted.language else ()),
            *(("languages", code) for code in wanted.languages or ()),
        ),
    )


def ladder(temperature: float) -> tuple[float, ...]:
    """The temperatures to try, up to 1: openai-whisper's command line starts at the given one.

    OpenAI's API says the same of 0; of others it says nothing, and one failed try would be final.
    """
    steps = int((1.0 - temperature) / TEMPERATURE_STEP + 1e-6)
    return tuple(round(temperature + TEMPERATURE_STEP * i, 6) for i in range(steps + 1))


def _check_together(wanted: Fields, task: Task, mode: str) -> None:
    """Refuse what would do nothing, or what says two things."""
    translating = task == "translate"
    verbose = wanted.response_format == "verbose_json"
    if wanted.stream:
        _check_stream(wanted, task)
    if translating and wanted.language:
        raise InvalidOption(texts.TRANSLATION_LANGUAGE, param="language")
    if wanted.timestamp_granularities and (translating or not verbose):
        name = "timestamp_granularities"
        raise InvalidOption(texts.NEEDS_VERBOSE_TRANSCRIPTION.filled(name=name), param=name)
    if wanted.x_dropped and not verbose:
        raise InvalidOption(texts.NEEDS_VERBOSE.filled(name="x_dropped"), param="x_dropped")
    if wanted.include and (translating or wanted.response_format != "json"):
        raise InvalidOption(texts.LOGPROBS_NEED_JSON, param="include")
    if wanted.x_formats and not (verbose or wanted.response_format == "json"):
        raise InvalidOption(texts.FORMATS_NEED_JSON, param="x_formats")
    if isinstance(wanted.chunking_strategy, VadFields) and mode != "fast":
        raise InvalidOption(texts.VAD_NEEDS_FAST, param=CHUNKING)
    for name, other in SAME:
        if getattr(wanted, name) and getattr(wanted, other):
            raise InvalidOption(texts.ONE_OF_TWO.filled(name=name, other=other), param=name)


def _check_stream(wanted: Fields, task: Task) -> None:
    if task == "translate" or wanted.response_format not in ("json", "text"):
        raise InvalidOption(texts.STREAM_NEEDS_TEXT, param="stream")
    if wanted.background:
        raise InvalidOption(texts.STREAM_OR_BACKGROUND, param="background")


def check_words(wanted: Wanted, *, aligns: bool) -> None:
    """Refuse what needs words, of a model that places none.

    Raises:
        InvalidOption: it was asked for.
    """
    if aligns:
        return
    if "word" in wanted.granularities:
        name = "timestamp_granularities"
        raise InvalidOption(texts.MODEL_PLACES_NO_WORDS.filled(name=name), param=name)
    if wanted.logprobs:
        text = texts.MODEL_HAS_NO_LOGPROBS.filled(name="include")
        raise InvalidOption(text, param="include")


def _server_vad(wanted: Fields) -> ServerVad | None:
    vad = wanted.chunking_strategy
    if not isinstance(vad, VadFields):
        return None
    return ServerVad(vad.threshold, vad.prefix_padding_ms, vad.silence_duration_ms)


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
            raise InvalidOption(text, param=name.partition("[")[0])
        else:
            values[name] = given[0]
    if values.get("response_format") == "diarized_json":
        raise InvalidOption(texts.NO_DIARIZED_JSON, param="response_format")
    _gather_chunking(values)
    try:
        return Fields.model_validate(values)
    except ValidationError as error:
        name = str(error.errors(include_input=False, include_url=False)[0]["loc"][0])
        raise _not_allowed(name) from None


def _not_allowed(name: str) -> InvalidOption:
    return InvalidOption(texts.WRONG_VALUE.filled(name=name, allowed=allowed(name)), param=name)


def _gather_chunking(values: dict[str, Any]) -> None:
    """The one object among the fields: `x[type]=…` as SDKs send it, or JSON."""
    parts = {name: value for name, value in values.items() if name.startswith(CHUNKING + "[")}
    if parts and CHUNKING in values:
        text = texts.FIELD_TWICE.filled(name=CHUNKING, count=2)
        raise InvalidOption(text, param=CHUNKING)
    if parts:
        keys = {name: name.removeprefix(CHUNKING + "[").removesuffix("]") for name in parts}
        values[CHUNKING] = {keys[name]: value for name, value in parts.items()}
    elif str(values.get(CHUNKING, "")).lstrip().startswith("{"):
        try:
            # JSON has types of its own; bracketed fields are all text
            values[CHUNKING] = VadFields.model_validate_json(values[CHUNKING], strict=True)
        except ValidationError:
            raise _not_allowed(CHUNKING) from None


def _items(value: str) -> list[Any]:
    """A JSON list's items, of whatever type, or the bare value."""
    try:
        items = json.loads(value)
    except (ValueError, RecursionError):
        return [value.strip()]
    return items if isinstance(items, list) else [value.strip()]
