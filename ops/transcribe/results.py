"""What is asked of the server for the formats that are wanted, and what is written down of it.

Knows: several formats come of one `verbose_json`; a result's file appears when it is whole.
Must not know: which recordings there are, when a server is asked.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from server import formats
from server.formats import ResponseFormat
from server.types import Segment, Transcript, Word

BOTH = '["segment","word"]'


def asked(wanted: Sequence[ResponseFormat], *, words: bool, task: str) -> dict[str, str]:
    """The fields of the one request that has everything that is wanted.

    Words place the lines of subtitles, so they are asked for where subtitles are made here; a
    translation has none.
    """
    if len(wanted) == 1 and not (words and wanted[0] == "verbose_json"):
        return {"response_format": wanted[0]}
    subtitles = bool({"srt", "vtt"} & set(wanted))
    granularities = task == "transcribe" and (words or subtitles)
    return {"response_format": "verbose_json"} | (
        {"timestamp_granularities": BOTH} if granularities else {}
    )


def bodies(
    text: str, wanted: Sequence[ResponseFormat], *, words: bool
) -> dict[ResponseFormat, bytes]:
    """The wanted formats, of the answer to what was asked.

    Raises:
        ValueError: the answer is no transcript.
    """
    if len(wanted) == 1 and not words:
        return {wanted[0]: text.encode()}
    try:
        answer: dict[str, Any] = json.loads(text)
        transcript = _transcript(answer)
        return {name: _body(name, answer, transcript, words=words) for name in wanted}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError("the answer is no transcript") from error


def write(path: Path, data: bytes) -> None:
    """Put a file in its place at once: it is there and whole, or as it was before.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise


def _body(
    name: ResponseFormat, answer: Mapping[str, Any], transcript: Transcript, *, words: bool
) -> bytes:
    if name == "verbose_json":
        kept = {key: value for key, value in answer.items() if words or key != "words"}
        return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()
    return formats.render(transcript, name).data


def _transcript(answer: Mapping[str, Any]) -> Transcript:
    """The server's answer as it had it, as far as other formats need it."""
    left = [(word["word"], word["start"], word["end"]) for word in answer.get("words") or ()]
    segments = tuple(_segment(segment, left) for segment in answer["segments"])
    return Transcript(
        task=answer["task"],
        language=answer["language"],
        duration=answer["duration"],
        text=answer["text"],
        segments=segments,
    )


def _segment(segment: Mapping[str, Any], left: list[tuple[str, float, float]]) -> Segment:
    fields = {**segment, "tokens": tuple(segment["tokens"])}
    return Segment(**fields, words=tuple(_words(segment["text"], left)))


def _words(text: str, left: list[tuple[str, float, float]]) -> Iterator[Word]:
    """The segment's words, taken from those that are left, each with the space before it."""
    at = 0
    while left:
        word, start, end = left[0]
        found = text.find(word, at)
        if found < 0 or text[at:found].strip():
            return
        del left[0]
        yield Word(start, end, text[at : found + len(word)], 1.0)
        at = found + len(word)
