"""A transcription as server-sent events, in OpenAI's names and payloads.

Knows: `transcript.text.delta` and `transcript.text.done`, and how an event looks on the wire.
Must not know: when segments come, or how they are sent.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from server.logprobs import logprobs
from server.types import Segment, Transcript

CONTENT_TYPE = "text/event-stream"

COMMENT = b": keep-alive\n\n"
"""A line that every reader of events ignores."""

AUDIO_TOKENS_PER_SECOND = 50
"""Positions of Whisper's encoder, one each 20 ms; OpenAI's usage of a stream counts in tokens."""


class TextDeltas:
    """The pieces whose sum is the transcript's text, without white space around it."""

    def __init__(self) -> None:
        self._begun = False
        self._held = ""

    def add(self, segments: Sequence[Segment]) -> str:
        """What these segments add; empty for now if it is only white space."""
        text = self._held + "".join(segment.text for segment in segments)
        if not self._begun:
            text = text.lstrip()
        delta = text.rstrip()
        self._held = text[len(delta) :]
        self._begun = self._begun or bool(delta)
        return delta


def event(data: bytes) -> bytes:
    """One event; JSON has no line breaks of its own."""
    return b"data: " + data + b"\n\n"


def delta(text: str, tokens: Sequence[Mapping[str, Any]] | None = None) -> bytes:
    """More of the text; and its tokens, where they were asked for."""
    more = {} if tokens is None else {"logprobs": tokens}
    return _event({"type": "transcript.text.delta", "delta": text, **more})


def done(
    transcript: Transcript,
    *,
    show_logprobs: bool = False,
    others: Mapping[str, Any] | None = None,
) -> bytes:
    """The last event: the whole text; and what else was asked for, under its own names."""
    heard = math.ceil(transcript.duration * AUDIO_TOKENS_PER_SECOND)
    written = sum(len(segment.tokens) for segment in transcript.segments)
    usage = {
        "type": "tokens",
        "input_tokens": heard,
        "output_tokens": written,
        "total_tokens": heard + written,
        "input_token_details": {"audio_tokens": heard, "text_tokens": 0},
    }
    text = transcript.text.strip()
    more: dict[str, Any] = dict(others or {})
    if show_logprobs:
        more["logprobs"] = logprobs(transcript.segments)
    return _event({"type": "transcript.text.done", "text": text, "usage": usage, **more})


def _event(payload: Mapping[str, Any]) -> bytes:
    data = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return event(data.encode())
