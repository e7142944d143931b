"""OpenAI's own Python SDK against the real server with the real model."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from server_process import KEY, ROOT, Process

pytestmark = pytest.mark.model

RIVER = ROOT / "tests/audio/en-river.ogg"
CHUVA = ROOT / "tests/audio/pt-chuva.ogg"
RIVER_WORDS = "the sun came out and the children ran"


@pytest.fixture(scope="module")
def server(weights_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One server for all tests of this file."""
    folder = tmp_path_factory.mktemp("server")
    environ = {"SUSSURRO_WEIGHTS_DIR": str(weights_dir), "SUSSURRO_MODELS": "base"}
    with contextlib.ExitStack() as stack:
        process = Process(["-m", "server"], environ, folder)
        stack.callback(process.popen.wait, 30)
        stack.callback(process.popen.kill)
        yield process.ready()


@pytest.fixture
def sdk(server: Process) -> Iterator[openai.OpenAI]:
    """A client as a user would set it up, but without retries."""
    with openai.OpenAI(api_key=KEY.key, base_url=f"{server.url}/v1", max_retries=0) as client:
        yield client


def letters(text: str) -> str:
    """Only words, in lower case; no numbers of cues or times."""
    return " ".join(re.findall(r"[^\W\d]+", text.lower()))


def test_json(sdk: openai.OpenAI) -> None:
    """The default: text and usage."""
    answer = sdk.audio.transcriptions.create(file=RIVER, model="whisper-1")

    assert RIVER_WORDS in letters(answer.text)
    assert answer.usage is not None
    assert "duration" == answer.usage.type


def test_verbose_json_with_words_and_segments(sdk: openai.OpenAI) -> None:
    """The SDK's types are filled, times climb, words spell the text."""
    answer = sdk.audio.transcriptions.create(
        file=RIVER,
        model="base",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )

    assert "english" == answer.language
    assert answer.segments
    assert answer.words
    assert letters(answer.text) == letters("".join(s.text for s in answer.segments))
    assert letters(answer.text) == letters(" ".join(w.word for w in answer.words))
    times = [t for w in answer.words for t in (w.start, w.end)]
    assert times == sorted(times)
    assert times[-1] <= answer.duration
    assert set(type(answer.segments[0]).model_fields) == set(answer.segments[0].to_dict())


@pytest.mark.parametrize("response_format", ["text", "srt", "vtt"])
def test_text_formats(sdk: openai.OpenAI, response_format: str) -> None:
    """The SDK hands the body over as a string."""
    answer = sdk.audio.transcriptions.create(
        file=RIVER,
        model="whisper-1",
        response_format=response_format,  # type: ignore[call-overload]
    )
    start = {"text": "", "srt": "1\n00:00:0", "vtt": "WEBVTT\n\n00:00:0"}[response_format]

    assert answer.startswith(start)
    assert RIVER_WORDS in letters(answer)


def test_a_language_and_a_prompt(sdk: openai.OpenAI) -> None:
    """Portuguese by its code; the detected and the given language agree."""
    given = sdk.audio.transcriptions.create(
        file=CHUVA,
        model="whisper-1",
        language="pt",
        prompt="Chuva.",
        response_format="verbose_json",
        temperature=0.0,
    )
    found = sdk.audio.transcriptions.create(
        file=CHUVA, model="whisper-1", response_format="verbose_json"
    )

    assert ("portuguese", "portuguese") == (given.language, found.language)
    assert given.text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_translation(sdk: openai.OpenAI) -> None:
    """Portuguese in, English out."""
    answer = sdk.audio.translations.create(file=CHUVA, model="whisper-1")

    assert {"the", "a", "of", "it", "and"} & set(letters(answer.text).split())


def test_raw_bytes_and_file_objects(sdk: openai.OpenAI) -> None:
    """The SDK names them `upload`, or not at all."""
    as_bytes = sdk.audio.transcriptions.create(file=RIVER.read_bytes(), model="whisper-1")
    with RIVER.open("rb") as file:
        as_file = sdk.audio.transcriptions.create(file=("noext", file), model="whisper-1")

    assert as_bytes.text == as_file.text


def test_models(sdk: openai.OpenAI) -> None:
    """Listed and looked up."""
    assert ["base", "whisper-1"] == [model.id for model in sdk.models.list()]
    assert "sussurro" == sdk.models.retrieve("whisper-1").owned_by


def test_the_request_id_is_exposed(sdk: openai.OpenAI, server: Process) -> None:
    """What the SDK shows is what the log has."""
    answer = sdk.audio.transcriptions.create(file=RIVER, model="whisper-1")

    assert server.has_logged(answer._request_id)


def test_a_wrong_key(sdk: openai.OpenAI) -> None:
    """AuthenticationError with our message and code."""
    stranger = sdk.with_options(api_key="sk-wrong")
    with pytest.raises(openai.AuthenticationError) as caught:
        stranger.audio.transcriptions.create(file=RIVER, model="whisper-1")

    assert "invalid_api_key" == caught.value.code


def test_an_unknown_model(sdk: openai.OpenAI) -> None:
    """NotFoundError that names the field."""
    with pytest.raises(openai.NotFoundError) as caught:
        sdk.audio.transcriptions.create(file=RIVER, model="whisper-9")

    assert ("model_not_found", "model") == (caught.value.code, caught.value.param)


def test_no_audio(sdk: openai.OpenAI) -> None:
    """BadRequestError for what cannot be decoded."""
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.audio.transcriptions.create(file=("a.mp3", b"no audio at all"), model="whisper-1")

    assert ("invalid_audio", "file") == (caught.value.code, caught.value.param)


@pytest.mark.parametrize("mode", ["fast", "accurate"])
def test_streaming(sdk: openai.OpenAI, mode: str) -> None:
    """The deltas are the text, and the last event has what an answer in one piece has."""
    extra = {"mode": mode}
    whole = sdk.audio.transcriptions.create(file=RIVER, model="whisper-1", extra_body=extra)
    stream = sdk.audio.transcriptions.create(
        file=RIVER, model="whisper-1", stream=True, extra_body=extra
    )
    *deltas, done = list(stream)

    assert all(event.type == "transcript.text.delta" for event in deltas)
    assert done.type == "transcript.text.done"
    assert whole.text == done.text == "".join(event.delta for event in deltas)
    assert done.usage is not None
    assert 0 < done.usage.output_tokens


@pytest.mark.parametrize("mode", ["fast", "accurate"])
def test_logprobs(sdk: openai.OpenAI, mode: str) -> None:
    """Each token of the text with the model's own doubt; streamed as well as in one piece."""
    extra = {"mode": mode}
    whole = sdk.audio.transcriptions.create(
        file=RIVER, model="whisper-1", include=["logprobs"], extra_body=extra
    )
    stream = sdk.audio.transcriptions.create(
        file=RIVER, model="whisper-1", include=["logprobs"], stream=True, extra_body=extra
    )
    *deltas, done = list(stream)

    assert whole.logprobs
    assert whole.text.encode() == b"".join(
        bytes(int(byte) for byte in token.bytes or ()) for token in whole.logprobs
    )
    values = [token.logprob for token in whole.logprobs if token.logprob is not None]
    assert len(values) == len(whole.logprobs)
    assert -1.0 < sum(values) / len(values) < 0.0 < len({round(value, 2) for value in values}) - 5
    assert [token.logprob for token in done.logprobs] == values
    assert [token.logprob for event in deltas for token in event.logprobs] == values


def test_the_voice_detector_as_an_object(sdk: openai.OpenAI) -> None:
    """The SDK sends it as bracketed fields; the words are the same, for nothing is cut away."""
    answer = sdk.audio.transcriptions.create(
        file=RIVER,
        model="whisper-1",
        chunking_strategy={"type": "server_vad", "threshold": 0.9, "silence_duration_ms": 500},
    )

    assert RIVER_WORDS in letters(answer.text)


def test_subtitles_are_not_streamed(sdk: openai.OpenAI) -> None:
    """A client that asks for events is told, instead of waiting for them."""
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.audio.transcriptions.create(
            file=RIVER, model="whisper-1", response_format="srt", stream=True
        )

    assert "stream" == caught.value.param


def test_azures_client(server: Process) -> None:
    """Azure's path, query and header."""
    with openai.AzureOpenAI(
        api_key=KEY.key, azure_endpoint=server.url, api_version="2024-06-01", max_retries=0
    ) as client:
        answer = client.audio.transcriptions.create(file=RIVER, model="whisper-1")

    assert RIVER_WORDS in letters(answer.text)
