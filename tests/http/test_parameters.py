"""Every parameter that OpenAI's SDK can send: honoured, or refused with what to do.

The table is complete: the SDK's own types say which parameters there are.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from edge_bench import KEY, Bench, build, serving
from openai.types.audio.transcription_create_params import (
    TranscriptionCreateParamsBase,
    TranscriptionCreateParamsStreaming,
)
from openai.types.audio.translation_create_params import TranslationCreateParams

from server.types import ServerVad

HONOURED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("model", {}, {}),
    ("language", {"language": "pt"}, {"language": "pt"}),
    ("languages", {"languages": ["pt", "en"]}, {"languages": ("pt", "en")}),
    ("prompt", {"prompt": "Sussurro."}, {"prompt": "Sussurro."}),
    ("keywords", {"keywords": ["Coolify", "n8n"]}, {"hotwords": "Coolify, n8n"}),
    ("response_format", {"response_format": "text"}, {}),
    ("response_format", {"response_format": "srt"}, {"word_timestamps": True}),
    ("response_format", {"response_format": "verbose_json"}, {}),
    ("response_format", {"response_format": "vtt"}, {"word_timestamps": True}),
    ("temperature", {"temperature": 0.5}, {"temperatures": (0.5, 0.7, 0.9)}),
    (
        "timestamp_granularities",
        {"timestamp_granularities": ["word"], "response_format": "verbose_json"},
        {"word_timestamps": True},
    ),
    ("include", {"include": ["logprobs"]}, {}),
    ("stream", {"stream": False}, {}),
    ("chunking_strategy", {"chunking_strategy": "auto"}, {"server_vad": None}),
    (
        "chunking_strategy",
        {"chunking_strategy": {"type": "server_vad"}},
        {"server_vad": ServerVad(0.5, 300, 200)},
    ),
    (
        "chunking_strategy",
        {
            "chunking_strategy": {
                "type": "server_vad",
                "threshold": 0.25,
                "prefix_padding_ms": 100,
                "silence_duration_ms": 900,
            }
        },
        {"server_vad": ServerVad(0.25, 100, 900)},
    ),
]
"""Parameter; what is sent; which options the transcription then has."""

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("known_speaker_names", {"known_speaker_names": ["Ana"]}, "Leave the field out"),
    (
        "known_speaker_references",
        {"known_speaker_references": ["data:audio/wav;base64,AA=="]},
        "Leave the field out",
    ),
    ("response_format", {"response_format": "diarized_json"}, "Use json, text,"),
    ("response_format", {"response_format": "xml"}, "Send one of json, text,"),
    ("language", {"language": "klingon"}, "Use an ISO-639-1 code"),
    ("language", {"language": "fr"}, "Use another model"),
    ("languages", {"languages": ["pt", "klingon"]}, "Use an ISO-639-1 code"),
    ("languages", {"languages": ["fr"]}, "Use another model"),
    ("languages", {"languages": ["pt"], "language": "pt"}, "Send one of them"),
    ("keywords", {"keywords": ["a"], "extra_body": {"hotwords": "b"}}, "Send one of them"),
    ("temperature", {"temperature": 1.5}, "Send a number from 0 to 1"),
    ("timestamp_granularities", {"timestamp_granularities": ["word"]}, "Use that format"),
    (
        "timestamp_granularities",
        {"timestamp_granularities": ["syllable"], "response_format": "verbose_json"},
        "Send one of",
    ),
    ("include", {"include": ["logprobs"], "response_format": "verbose_json"}, "Use that format"),
    ("include", {"include": ["everything"]}, "Send one of logprobs"),
    ("stream", {"stream": True, "response_format": "srt"}, "use one of these formats"),
    ("chunking_strategy", {"chunking_strategy": "manual"}, "Send auto, or an object"),
    ("chunking_strategy", {"chunking_strategy": {"type": "semantic_vad"}}, "Send auto"),
    ("chunking_strategy", {"chunking_strategy": {"threshold": 0.5}}, "Send auto"),
    (
        "chunking_strategy",
        {"chunking_strategy": {"type": "server_vad", "threshold": 2}},
        "`threshold` 0 to 1",
    ),
    (
        "chunking_strategy",
        {"chunking_strategy": {"type": "server_vad", "treshold": 0.5}},
        "`threshold` 0 to 1",
    ),
    (
        "chunking_strategy",
        {"chunking_strategy": {"type": "server_vad"}, "extra_body": {"mode": "accurate"}},
        "Use that mode",
    ),
    ("model", {"model": "whisper-9"}, "Use one of them"),
]
"""Parameter; what is sent; what the refusal says to do."""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """The edge with its stand-ins."""
    return build(tmp_path)


@pytest.fixture
def sdk(bench: Bench) -> Iterator[openai.OpenAI]:
    """OpenAI's client, on a real socket."""
    with serving(bench) as (port, _):
        url = f"http://127.0.0.1:{port}/v1"
        with openai.OpenAI(api_key=KEY.key, base_url=url, max_retries=0, timeout=10) as client:
            yield client


def test_no_parameter_of_the_sdk_is_forgotten() -> None:
    """What the SDK's types have is in a table above, `file` aside."""
    theirs = TranscriptionCreateParamsBase.__annotations__.keys() | {"stream"}
    theirs |= TranscriptionCreateParamsStreaming.__annotations__.keys()

    assert theirs - {"file"} == {name for name, *_ in (*HONOURED, *REFUSED)}
    assert TranslationCreateParams.__annotations__.keys() <= theirs


@pytest.mark.parametrize(("name", "sent", "expected"), HONOURED)
def test_a_parameter_is_honoured(
    bench: Bench, sdk: openai.OpenAI, name: str, sent: dict[str, Any], expected: dict[str, Any]
) -> None:
    """As the SDK sends it, it becomes an option of the transcription."""
    sdk.audio.transcriptions.create(file=b"x", **{"model": "whisper-1", **sent})

    options = bench.transcriber.options
    assert options is not None
    assert expected == {field: getattr(options, field) for field in expected}


@pytest.mark.parametrize(("name", "sent", "advice"), REFUSED)
def test_a_parameter_is_refused_with_what_to_do(
    bench: Bench, sdk: openai.OpenAI, name: str, sent: dict[str, Any], advice: str
) -> None:
    """The field at fault, and a way out; nothing is transcribed."""
    with pytest.raises(openai.APIStatusError) as caught:
        sdk.audio.transcriptions.create(file=b"x", **{"model": "whisper-1", **sent})

    assert caught.value.status_code == (404 if name == "model" else 400)
    assert name == caught.value.param
    assert advice in caught.value.message
    assert bench.transcriber.options is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"language": "pt"}, "language"),
        ({"stream": "true"}, "stream"),
        ({"include[]": "logprobs"}, "include"),
        (
            {"timestamp_granularities[]": "word", "response_format": "verbose_json"},
            "timestamp_granularities",
        ),
    ],
)
def test_a_translation_refuses_what_only_transcriptions_have(
    bench: Bench, sdk: openai.OpenAI, extra: dict[str, str], param: str
) -> None:
    """They would do nothing there."""
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.audio.translations.create(file=b"x", model="whisper-1", extra_body=extra)

    assert param == caught.value.param
    assert bench.transcriber.options is None


@pytest.mark.parametrize(
    "extra",
    [
        {"user": "somebody"},
        {"metadata[a]": "b"},
        {"x_of_tomorrow": "1"},
        {"metadata": '{"type": "server_vad"}'},
    ],
)
def test_unknown_fields_are_ignored_as_openai_does(
    sdk: openai.OpenAI, extra: dict[str, str]
) -> None:
    """A client may be newer than the server."""
    answer = sdk.audio.transcriptions.create(file=b"x", model="whisper-1", extra_body=extra)

    assert "Olá, mundo. Tudo bem?" == answer.text


def test_logprobs_reach_the_sdks_types(sdk: openai.OpenAI) -> None:
    """Token, log probability and bytes; the bytes joined are the text."""
    answer = sdk.audio.transcriptions.create(file=b"x", model="whisper-1", include=["logprobs"])

    assert answer.logprobs
    assert answer.text.encode() == b"".join(bytes(map(int, t.bytes or ())) for t in answer.logprobs)
    assert ["Olá", ",", " mundo", ".", " Tudo", " bem?"] == [t.token for t in answer.logprobs]
    assert [-0.105361, -0.223144] == [t.logprob for t in answer.logprobs[:2]]


def test_without_include_there_are_none(sdk: openai.OpenAI) -> None:
    """As at OpenAI."""
    assert None is sdk.audio.transcriptions.create(file=b"x", model="whisper-1").logprobs
