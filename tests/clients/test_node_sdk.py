"""OpenAI's own SDK for Node against the real server with the real model."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from node_sdk import PACKAGES, Node, run_node
from server_process import ROOT, Process, launcher

RIVER = ROOT / "tests/audio/en-river.ogg"
CHUVA = ROOT / "tests/audio/pt-chuva.ogg"
RIVER_WORDS = "the sun came out and the children ran"


@pytest.fixture(scope="module")
def server(weights_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One server for all tests of this file."""
    with launcher(tmp_path_factory.mktemp("server")) as launch:
        yield launch("-m", "server", SUSSURRO_WEIGHTS_DIR=str(weights_dir)).ready()


def letters(text: str) -> str:
    """Only words, in lower case; no numbers of cues or times."""
    return " ".join(re.findall(r"[^\W\d]+", text.lower()))


@pytest.mark.parametrize(
    ("send_as", "name"),
    [("stream", None), ("bytes", "noext"), ("bytes", None), ("file", "Gespräch 会議.oga")],
)
def test_every_way_to_send_a_file(
    server: Process, node: Node, send_as: str, name: str | None
) -> None:
    """A stream, which comes chunked and without a length, and bytes with and without a name."""
    answer = node(server.url, file=RIVER, send_as=send_as, name=name)

    assert RIVER_WORDS in letters(answer["result"]["text"])
    assert server.has_logged(answer["request_id"])


@pytest.mark.parametrize("response_format", ["text", "srt", "vtt"])
def test_text_formats(server: Process, node: Node, response_format: str) -> None:
    """The SDK hands the body over as a string."""
    answer = node(server.url, file=RIVER, response_format=response_format)["result"]
    start = {"text": "", "srt": "1\n00:00:0", "vtt": "WEBVTT\n\n00:00:0"}[response_format]

    assert answer.startswith(start)
    assert RIVER_WORDS in letters(answer)


def test_word_times(server: Process, node: Node) -> None:
    """Both granularities; the words spell the text and their times climb."""
    answer = node(
        server.url,
        file=RIVER,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )["result"]
    times = [time for word in answer["words"] for time in (word["start"], word["end"])]

    assert letters(answer["text"]) == letters(" ".join(word["word"] for word in answer["words"]))
    assert letters(answer["text"]) == letters("".join(part["text"] for part in answer["segments"]))
    assert times == sorted(times)
    assert times[-1] <= answer["duration"]


def test_streaming(server: Process, node: Node) -> None:
    """The deltas are the text, and the text is that of an answer in one piece."""
    whole = node(server.url, file=RIVER)["result"]["text"]
    *deltas, done = node(server.url, file=RIVER, stream=True)["events"]

    assert {"transcript.text.delta"} == {event["type"] for event in deltas}
    assert "transcript.text.done" == done["type"]
    assert whole == done["text"] == "".join(event["delta"] for event in deltas)


def test_a_translation(server: Process, node: Node) -> None:
    """Portuguese in, English out."""
    text = node(server.url, "translations", CHUVA)["result"]["text"]

    assert {"the", "a", "of", "it", "and"} & set(letters(text).split())


def test_models(server: Process, node: Node) -> None:
    """Listed and looked up; an unknown one is the SDK's NotFoundError."""
    listed = node(server.url, "models")["result"]
    unknown = node(server.url, "model", model="whisper-9")["error"]

    assert ["base", "whisper-1"] == [model["id"] for model in listed]
    assert "whisper-1" == node(server.url, "model", model="whisper-1")["result"]["id"]
    assert ("NotFoundError", 404, "model_not_found") == (
        unknown["class"],
        unknown["status"],
        unknown["code"],
    )


TYPES = {
    "json": "OpenAI.Audio.Transcription",
    "verbose_json": "OpenAI.Audio.TranscriptionVerbose",
    "events": "OpenAI.Audio.TranscriptionStreamEvent",
    "translation": "OpenAI.Audio.Translation",
    "translation_verbose": "OpenAI.Audio.TranslationVerbose",
    "models": "OpenAI.Model",
}


def bodies(server: Process, node: Node) -> dict[str, Any]:
    """What the server says, by the names of `TYPES`."""
    words = ["word", "segment"]
    verbose: dict[str, Any] = {"response_format": "verbose_json"}
    return {
        "json": node(server.url, file=RIVER)["result"],
        "verbose_json": node(server.url, file=RIVER, timestamp_granularities=words, **verbose)[
            "result"
        ],
        "events": node(server.url, file=RIVER, stream=True)["events"],
        "translation": node(server.url, "translations", CHUVA)["result"],
        "translation_verbose": node(server.url, "translations", CHUVA, **verbose)["result"],
        "models": node(server.url, "models")["result"],
    }


def test_the_sdks_types_accept_every_body(server: Process, node: Node) -> None:
    """Checked by TypeScript; OpenAI's own examples have fields beside the typed ones (`task`)."""
    lines = ["import OpenAI from 'openai';", "type Open<T> = T & Record<string, unknown>;"]
    for name, body in bodies(server, node).items():
        shape = f"Open<{TYPES[name]}>" + ("[]" if isinstance(body, list) else "")
        lines.append(f"export const {name}: {shape} = {json.dumps(body)};")
    PACKAGES.joinpath("bodies.ts").write_text("\n".join(lines))

    assert "" == complaints("bodies.ts")

    PACKAGES.joinpath("bodies.ts").write_text("\n".join(lines).replace('"text":', '"txt":'))
    assert "'text' is missing" in complaints("bodies.ts")


def complaints(source: str) -> str:
    """What TypeScript has to say."""
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext"]
    options += ["--target", "es2022", "--lib", "es2022,dom"]
    return run_node("node_modules/typescript/bin/tsc", *options, source, may_fail=True)
