"""A running server, asked over HTTP in the way of OpenAI's audio API.

Knows: the request's fields and the answer's.
Must not know: how the server works, scores, reports.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from pydantic import ValidationError

from ops.accuracy.manifest import NO_LANGUAGE, Clip
from ops.accuracy.timed import TimedText
from ops.accuracy.transcripts import Hypothesis

NAME = "sussurro"
TIMEOUT = 3_600.0
"""Seconds for one clip: hours of audio on one core must pass."""


@dataclass(frozen=True)
class ServerOptions:
    """What each request says; `mode` is sent only if given."""

    model: str = "whisper-1"
    mode: str | None = None
    word_timestamps: bool = False
    detect_language: bool = False


class Server:
    """The server at `url` (without `/v1`); safe to call from several threads."""

    def __init__(self, url: str, api_key: str, options: ServerOptions) -> None:
        self._client = httpx2.Client(
            base_url=url.rstrip("/").removesuffix("/v1"),
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=TIMEOUT,
        )
        self._options = options

    @property
    def name(self) -> str:
        """The product's name, and the mode where one is asked for."""
        return f"{NAME} {self._options.mode}" if self._options.mode else NAME

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """The options alone: a server's answers are never remembered."""
        return {name: str(value) for name, value in vars(self._options).items()}

    def transcribe(self, clip: Clip) -> Hypothesis:
        """The clip's text; a refusal or a broken connection becomes `error`."""
        start = time.perf_counter()
        try:
            response = self._client.post(
                "/v1/audio/transcriptions",
                data=self._fields(clip),
                files={"file": (clip.name, clip.path.read_bytes())},
            )
            answer = response.json()
        except (httpx2.HTTPError, ValueError) as error:
            return _failure(f"{type(error).__name__}: {error}", time.perf_counter() - start)
        wall_s = time.perf_counter() - start
        if not response.is_success:
            return _failure(f"{response.status_code}: {_message(answer)}", wall_s)
        try:
            return _hypothesis(answer, wall_s)
        except (KeyError, TypeError, ValidationError):
            return _failure("the answer is no transcript", wall_s)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _fields(self, clip: Clip) -> dict[str, str | list[str]]:
        options = self._options
        fields: dict[str, str | list[str]] = {
            "model": options.model,
            "response_format": "verbose_json",
        }
        if clip.language != NO_LANGUAGE and not options.detect_language:
            fields["language"] = clip.language
        if options.word_timestamps:
            fields["timestamp_granularities[]"] = ["segment", "word"]
        if options.mode:
            fields["mode"] = options.mode
        return fields


def _hypothesis(answer: Any, wall_s: float) -> Hypothesis:  # noqa: ANN401  somebody's JSON
    """OpenAI's `verbose_json` as a hypothesis; anything else raises one of several errors."""
    return Hypothesis(
        text=answer["text"],
        language=answer.get("language"),
        wall_s=wall_s,
        segments=tuple(
            TimedText(s["start"], s["end"], s["text"]) for s in answer.get("segments") or ()
        ),
        words=tuple(TimedText(w["start"], w["end"], w["word"]) for w in answer.get("words") or ()),
    )


def _message(answer: Any) -> str:  # noqa: ANN401  somebody's JSON
    """The message of OpenAI's error body, else nothing."""
    error = answer.get("error") if isinstance(answer, dict) else None
    return str(error.get("message", "")) if isinstance(error, dict) else ""


def _failure(error: str, wall_s: float) -> Hypothesis:
    return Hypothesis(text="", language=None, wall_s=wall_s, error=error)
