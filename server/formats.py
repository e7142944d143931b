"""A transcript as OpenAI's answers: json, verbose_json, text, srt and vtt.

Knows: field names and their order, cue syntax, content types.
Must not know: HTTP requests, engines, audio.
"""

import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from server.cues import Cue, CueLimits, cues
from server.decoding.languages import LANGUAGES
from server.logprobs import logprobs
from server.types import Segment, Transcript

ResponseFormat: TypeAlias = Literal["json", "text", "srt", "verbose_json", "vtt"]
Granularity: TypeAlias = Literal["word", "segment"]

RESPONSE_FORMATS: tuple[ResponseFormat, ...] = get_args(ResponseFormat)
GRANULARITIES: tuple[Granularity, ...] = get_args(Granularity)

PLAIN = "text/plain; charset=utf-8"
VTT = "text/vtt; charset=utf-8"
VTT_HEADER = b"WEBVTT\n\n"

DEFAULT_LIMITS = CueLimits()

_ARROW = re.compile(r"-{2,}>")


class Body(NamedTuple):
    """A response body and its content type."""

    data: bytes
    content_type: str


def render(  # noqa: PLR0913 - what some formats ask besides, by name
    transcript: Transcript,
    response_format: ResponseFormat,
    granularities: frozenset[Granularity] = frozenset({"segment"}),
    *,
    cue_limits: CueLimits = DEFAULT_LIMITS,
    show_dropped: bool = False,
    show_logprobs: bool = False,
    also: Collection[ResponseFormat] = (),
) -> Body:
    """The body of an answer.

    `granularities` and `show_dropped` matter to `verbose_json` alone, `show_logprobs` to `json`,
    `cue_limits` to subtitles, `also` (further formats) to both of the former.

    Subtitles in srt are sent as text/plain, as OpenAI does: `application/x-subrip` is not
    registered, and generic clients take it for binary data. `text/vtt` is registered.
    """
    if response_format == "json":
        body = _brief(transcript)
        if show_logprobs:
            body["logprobs"] = logprobs(transcript.segments)
        return _json(body | others(transcript, also, cue_limits=cue_limits))
    if response_format == "verbose_json":
        body = _verbose(transcript, granularities)
        if show_dropped:
            body["x_dropped"] = [asdict(dropped) for dropped in transcript.dropped]
        return _json(body | others(transcript, also, cue_limits=cue_limits))
    if response_format == "text":
        return Body((transcript.text.strip() + "\n").encode(), PLAIN)
    made = cues(transcript, cue_limits)
    if response_format == "srt":
        return Body(_srt(made).encode(), PLAIN)
    return Body(VTT_HEADER + _vtt(made).encode(), VTT)


def others(
    transcript: Transcript,
    wanted: Collection[ResponseFormat],
    *,
    cue_limits: CueLimits = DEFAULT_LIMITS,
) -> dict[str, dict[str, str]]:
    """`x_formats`: by name, each format's whole body as a text; nothing if none is wanted."""
    bodies: dict[str, str] = {
        name: render(transcript, name, cue_limits=cue_limits).data.decode()
        for name in sorted(wanted)
    }
    return {"x_formats": bodies} if bodies else {}


def _json(value: Mapping[str, Any]) -> Body:
    """NaN would be no JSON: an engine that hands it out has a fault."""
    data = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Body(data.encode(), "application/json")


def _brief(transcript: Transcript) -> dict[str, Any]:
    return {"text": transcript.text.strip(), "usage": _usage(transcript)}


def _usage(transcript: Transcript) -> dict[str, Any]:
    """Seconds of audio, rounded up as OpenAI's examples have it."""
    return {"type": "duration", "seconds": math.ceil(transcript.duration)}


def _verbose(transcript: Transcript, granularities: frozenset[Granularity]) -> dict[str, Any]:
    spoken = LANGUAGES.get(transcript.language, transcript.language)
    body: dict[str, Any] = {
        "task": transcript.task,
        # OpenAI's is the text's language, and a translation is always English
        "language": "english" if transcript.task == "translate" else spoken,
        "duration": round(transcript.duration, 3),
        "text": transcript.text.strip(),
    }
    if "word" in granularities:
        body["words"] = [
            {"word": word.word.strip(), "start": _seconds(word.start), "end": _seconds(word.end)}
            for word in transcript.words
        ]
    if "segment" in granularities:
        body["segments"] = [_segment(segment) for segment in transcript.segments]
    body["usage"] = _usage(transcript)
    if transcript.warnings:
        body["x_warnings"] = list(transcript.warnings)
    return body


def _segment(segment: Segment) -> dict[str, Any]:
    return {
        "id": segment.id,
        "seek": segment.seek,
        "start": _seconds(segment.start),
        "end": _seconds(segment.end),
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    }


def _seconds(value: float) -> float:
    """To the millisecond: 30 + 0.1 is not 30.1 in binary, and nobody wants to read that."""
    return round(value, 3)


def _srt(made: Sequence[Cue]) -> str:
    """Numbered cues. `-->` inside a text would end a cue's header, so it keeps one dash."""
    blocks = _blocks(made, lambda text: _ARROW.sub("->", text), ",")
    return "".join(f"{number}\n{block}\n\n" for number, block in enumerate(blocks, start=1))


def _vtt(made: Sequence[Cue]) -> str:
    """WebVTT after its header; with hours, and `&`, `<`, `>` escaped (so `-->` cannot occur)."""
    return "".join(f"{block}\n\n" for block in _blocks(made, _escaped, "."))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _blocks(made: Sequence[Cue], escape: Callable[[str], str], decimal_mark: str) -> Iterable[str]:
    """Times and lines of each cue; an empty line would end it early, so cues have none."""
    for cue in made:
        start, end = (_clock(t, decimal_mark) for t in (cue.start, cue.end))
        lines = "\n".join(escape(" ".join(line.split())) for line in cue.lines)
        yield f"{start} --> {end}\n{lines}"


def _clock(seconds: float, decimal_mark: str) -> str:
    """`01:02:03,456`; rounded once, so 59.9996 s is a full minute and not `00:00:60`."""
    total_ms = max(round(seconds * 1000), 0)
    total_s, ms = divmod(total_ms, 1000)
    minutes, s = divmod(total_s, 60)
    hours, m = divmod(minutes, 60)
    return f"{hours:02d}:{m:02d}:{s:02d}{decimal_mark}{ms:03d}"
