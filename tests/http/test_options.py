"""A form's fields, and what they ask for."""

from dataclasses import replace

import pytest
from edge_bench import FILE, Bench, build, error_of, post
from hypothesis import given
from hypothesis import strategies as st

from server.errors import InvalidOption
from server.http.fields import KNOWN, UNSUPPORTED
from server.http.options import ladder, parse
from server.types import ServerVad, Task, TranscriptionOptions


def wanted(task: Task = "transcribe", **fields: str | list[str]) -> TranscriptionOptions:
    """The options that these fields ask for."""
    values = {k: [v] if isinstance(v, str) else v for k, v in fields.items()}
    return parse(values, task, TranscriptionOptions()).options


def refusal(task: Task = "transcribe", **fields: str | list[str]) -> InvalidOption:
    """Why these fields are refused."""
    with pytest.raises(InvalidOption) as caught:
        wanted(task, **fields)
    return caught.value


def test_nothing_asked_is_openai_whispers_defaults() -> None:
    """The defaults of the type are the defaults of the API."""
    assert TranscriptionOptions() == wanted()


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (0.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (0.2, (0.2, 0.4, 0.6, 0.8, 1.0)),
        (0.3, (0.3, 0.5, 0.7, 0.9)),
        (0.9, (0.9,)),
        (1.0, (1.0,)),
    ],
)
def test_the_ladder_starts_at_the_temperature(
    temperature: float, expected: tuple[float, ...]
) -> None:
    """openai-whisper's command line does the same: steps of 0.2 up to 1."""
    assert expected == ladder(temperature)


@given(st.floats(0, 1))
def test_every_ladder_climbs_to_one_and_no_further(temperature: float) -> None:
    """Whatever the start, each step is higher and none is above 1."""
    steps = ladder(temperature)

    assert abs(steps[0] - temperature) < 1e-6
    assert list(steps) == sorted(set(steps))
    assert 0.8 - 1e-6 < steps[-1] <= 1.0


@pytest.mark.parametrize("language", ["pt", "PT", "pt-BR", "Portuguese", " pt "])
def test_a_language_may_be_a_code_a_tag_or_a_name(language: str) -> None:
    """All of them mean Whisper's code."""
    assert "pt" == wanted(language=language).language


def test_the_prompt_is_kept_as_it_is() -> None:
    """Its spaces may matter."""
    assert " Olá " == wanted(prompt=" Olá ").prompt


@pytest.mark.parametrize(
    "values",
    [
        ["word", "segment"],
        ['["word","segment"]'],
        ["segment", '["word"]'],
    ],
)
def test_granularities_come_as_repeated_fields_or_json(values: list[str]) -> None:
    """SDKs repeat the field; some tools send a JSON list."""
    fields = {"timestamp_granularities": values, "response_format": ["verbose_json"]}

    assert {"word", "segment"} == parse(fields, "transcribe", TranscriptionOptions()).granularities


@pytest.mark.parametrize("item", ["null", "7", "true", '{"a": 1}', "[]"])
def test_a_list_holds_texts_alone(item: str) -> None:
    """What is no text would become a word to expect, such as `None`."""
    with pytest.raises(InvalidOption) as raised:
        parse({"keywords": [f'["Ana", {item}]']}, "transcribe", TranscriptionOptions())

    assert "keywords" == raised.value.param


@pytest.mark.parametrize("name", ["timestamp_granularities[]", "timestamp_granularities[0]"])
def test_brackets_in_a_name_do_not_matter(bench: Bench, name: str) -> None:
    """`x`, `x[]` and `x[0]` are one field."""
    response = post(bench, (name, "word"), ("response_format", "verbose_json"), FILE)

    assert ["Olá,", "mundo.", "Tudo", "bem?"] == [w["word"] for w in response.json()["words"]]
    assert bench.transcriber.options is not None
    assert bench.transcriber.options.word_timestamps


def test_words_are_not_computed_unless_they_are_asked_for() -> None:
    """Aligning them takes time."""
    assert not wanted(response_format="verbose_json").word_timestamps


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": "2"},
        {"temperature": "-0.1"},
        {"temperature": "nan"},
        {"temperature": "hot"},
        {"temperature": "0,2"},
        {"language": "klingon"},
        {"response_format": "xml"},
        {"response_format": "diarized_json"},
        {"stream": "true", "response_format": "verbose_json"},
        {"stream": "true", "response_format": "srt"},
        {"stream": "true", "response_format": "vtt"},
        {"stream": "perhaps"},
        {"chunking_strategy": '{"type":"server_vad"'},
        {"chunking_strategy": "[]"},
        {"chunking_strategy": ["auto", "auto"]},
        {"timestamp_granularities": "word"},
        {"timestamp_granularities": "syllable", "response_format": "verbose_json"},
        {"timestamp_granularities": "[1]", "response_format": "verbose_json"},
        {"model": ["a", "b"]},
    ],
)
def test_what_cannot_be_done_is_refused_by_name(fields: dict[str, str]) -> None:
    """400 with the field at fault; the value is not repeated."""
    name = next(iter(fields))
    error = refusal(**fields)

    assert (name, 400) == (error.param, error.status)
    assert "klingon" not in error.message


def test_the_voice_detector_may_come_as_json() -> None:
    """For those who write forms by hand."""
    vad = '{"type": "server_vad", "silence_duration_ms": 500}'
    assert ServerVad(silence_duration_ms=500) == wanted(chunking_strategy=vad).server_vad
    assert (
        "chunking_strategy"
        == refusal(**{"chunking_strategy": "auto", "chunking_strategy[type]": "server_vad"}).param
    )


def test_the_voice_detector_needs_the_mode_that_cuts() -> None:
    """Also where the operator's setting is the other one; the request may say."""
    accurate = TranscriptionOptions(mode="accurate")
    vad = {"chunking_strategy[type]": ["server_vad"]}
    with pytest.raises(InvalidOption):
        parse(vad, "transcribe", accurate)
    assert (
        ServerVad() == parse({**vad, "mode": ["fast"]}, "transcribe", accurate).options.server_vad
    )


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_openais_other_fields_are_refused_and_not_ignored(name: str) -> None:
    """They would change the answer; a client has to know that they do not."""
    assert name == refusal(**{name: "x"}).param
    assert name in KNOWN


@pytest.mark.parametrize(
    "fields", [{"stream": "false"}, {"stream": "0"}, {"chunking_strategy": "auto"}]
)
def test_what_is_done_anyway_may_be_asked_for(fields: dict[str, str]) -> None:
    """No stream, and windows cut at quiet places: that is how this server works."""
    assert TranscriptionOptions() == wanted(**fields)


@pytest.mark.parametrize("response_format", ["json", "text"])
def test_a_text_can_be_streamed(response_format: str) -> None:
    """Events carry text; a client that asks for `text` may have them, too."""
    fields = {"stream": ["true"], "response_format": [response_format]}
    assert parse(fields, "transcribe", TranscriptionOptions()).stream


def test_a_translation_cannot_be_streamed() -> None:
    """OpenAI has no such field there, and ignoring it would answer with something else."""
    assert "stream" == refusal("translate", stream="true").param


def test_our_own_fields_go_into_the_options() -> None:
    """Under openai-whisper's and faster-whisper's names."""
    options = wanted(
        mode="accurate",
        hotwords="Coolify",
        compression_ratio_threshold="2",
        logprob_threshold="-0.5",
        no_speech_threshold="0.4",
    )
    assert ("accurate", "Coolify") == (options.mode, options.hotwords)
    assert (2.0, -0.5, 0.4) == (
        options.compression_ratio_threshold,
        options.logprob_threshold,
        options.no_speech_threshold,
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "slow"},
        {"compression_ratio_threshold": "0"},
        {"logprob_threshold": "1"},
        {"no_speech_threshold": "nan"},
        {"x_dropped": "true"},
        {"x_formats": "docx"},
    ],
)
def test_our_own_fields_are_checked_too(fields: dict[str, str]) -> None:
    """400 with the field at fault; `x_dropped` has a place in verbose_json only."""
    assert next(iter(fields)) == refusal(**fields).param


def test_the_settings_are_the_defaults() -> None:
    """What a request does not say, the operator does."""
    defaults = TranscriptionOptions(mode="accurate", languages=("pt",), default_language="pt")
    options = parse({}, "transcribe", defaults).options
    assert defaults == options
    assert "fast" == parse({"mode": ["fast"]}, "transcribe", defaults).options.mode


@pytest.mark.parametrize("name", ["response_format", "x_formats"])
@pytest.mark.parametrize("response_format", ["srt", "vtt"])
def test_subtitles_need_words(name: str, response_format: str) -> None:
    """Their cues are cut between words."""
    assert wanted(**{name: response_format}).word_timestamps


@pytest.mark.parametrize("response_format", ["text", "srt", "vtt"])
def test_further_formats_need_one_that_can_hold_them(response_format: str) -> None:
    """A text has no place for another one; they are never left out in silence."""
    fields = {"response_format": response_format, "x_formats": "srt"}
    assert "x_formats" == refusal(**fields).param


def test_a_translation_takes_no_language() -> None:
    """OpenAI's endpoint has no such field: the language is found, the answer is English."""
    assert "language" == refusal("translate", language="pt").param


def test_a_translation_takes_no_granularities() -> None:
    """OpenAI's endpoint has no such field."""
    fields = {"timestamp_granularities": "word", "response_format": "verbose_json"}

    assert "timestamp_granularities" == refusal("translate", **fields).param


@pytest.mark.parametrize("model", ["whisper-1", "base", None])
def test_the_first_model_answers_for_whisper_1_and_by_default(
    bench: Bench, model: str | None
) -> None:
    """The log has the model's real name."""
    parts = [] if model is None else [("model", model)]

    assert 200 == post(bench, *parts, FILE).status_code
    assert "base" == bench.lines()[0]["model"]


def test_an_unknown_model_is_not_found(bench: Bench) -> None:
    """The models that are there are told; the caller's word is not logged."""
    response = post(bench, ("model", "gpt-9-transcribe"), FILE)

    assert 404 == response.status_code
    assert ("model_not_found", "model") == (
        error_of(response)["code"],
        error_of(response)["param"],
    )
    assert "base, whisper-1" in error_of(response)["message"]
    assert "gpt-9" not in bench.log.getvalue()


def test_a_model_that_is_called_whisper_1_answers_itself(bench: Bench) -> None:
    """The alias steps back behind a real name."""
    bench = build(bench.settings.spool_dir, models=("base", "whisper-1"))
    bench.transcribers["whisper-1"] = bench.transcriber
    post(bench, ("model", "whisper-1"), FILE)

    assert "whisper-1" == bench.lines()[0]["model"]


def test_a_language_that_the_model_lacks_is_refused(bench: Bench) -> None:
    """The stub knows en, pt and de; Whisper knows French."""
    response = post(bench, ("language", "fr"), FILE)

    assert 400 == response.status_code
    assert "language" == error_of(response)["param"]


def test_logprobs_are_refused_where_the_engine_has_none(bench: Bench) -> None:
    """They come from the alignment; an empty list would be a lie."""
    engine = bench.transcriber.engine
    engine.info = replace(engine.info, aligns=False)
    response = post(bench, ("include[]", "logprobs"), FILE)

    assert (400, "include") == (response.status_code, error_of(response)["param"])
    assert "Leave `include` out" in error_of(response)["message"]


def test_the_beam_is_the_settings(bench: Bench) -> None:
    """Whoever runs the server decides what a window may cost."""
    bench = build(bench.settings.spool_dir, beam_size=2)
    post(bench, FILE)

    assert bench.transcriber.options is not None
    assert 2 == bench.transcriber.options.beam_size


def test_words_are_refused_where_the_engine_places_none(bench: Bench) -> None:
    """A guess would look like a time."""
    engine = bench.transcriber.engine
    engine.info = replace(engine.info, aligns=False)
    words = ("timestamp_granularities[]", "word")
    response = post(bench, ("response_format", "verbose_json"), words, FILE)
    assert 400 == response.status_code
    assert "timestamp_granularities" == error_of(response)["param"]
    assert 200 == post(bench, ("response_format", "srt"), FILE).status_code
