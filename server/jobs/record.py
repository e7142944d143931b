"""What a job is: its states, what was asked, and what is known of it.

Knows: values only.
Must not know: HTTP, databases, who runs it.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic import ConfigDict, TypeAdapter

from server.kept import Plan, SpanState
from server.types import Segment, Task, Transcript, TranscriptionOptions

State: TypeAlias = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]

ENDS: tuple[State, ...] = ("succeeded", "failed", "cancelled", "expired")
"""How a job may end; `expired` without having run."""


@dataclass(frozen=True, slots=True)
class Queue:
    """The jobs that wait, whichever server took them; times in seconds."""

    queued: int
    audio_s: float
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Outbox:
    """The webhooks that are not delivered, of all servers; `oldest_s` of those still tried."""

    pending: int
    dead: int
    oldest_s: float


Told: TypeAlias = Literal["delivered", "failed", "dead"]
"""What may come of a try to send a webhook; `dead`: there will be no other."""

TOLD: tuple[Told, ...] = ("delivered", "failed", "dead")


@dataclass(frozen=True, slots=True)
class Figures:
    """How jobs stand now; `queue` and `outbox` are None where the database did not say."""

    queue: Queue | None
    running: int
    ended: Mapping[State, int]
    outbox: Outbox | None = None
    told: Mapping[Told, int] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller asked for: how to transcribe, and the fields that only shape the answer.

    `aligns` is whether the job's model places words in time.
    """

    options: TranscriptionOptions
    shown: dict[str, list[str]]
    aligns: bool = True
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a job failed: a code of the error tree, and what its caller is told."""

    code: str
    en: str
    pt: str


@dataclass(frozen=True, slots=True)
class Job:
    """One job as its owner may see it; times are those of `time.time`."""

    seq: int
    id: str
    owner: str
    state: State
    task: Task
    model: str
    audio_s: float
    done_s: float
    created: float
    started: float | None
    finished: float | None
    expires: float
    error: Fault | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that a worker has for a while; `claim` is a word for this time alone."""

    seq: int
    id: str
    owner: str
    model: str
    claim: str
    attempts: int
    audio_s: float
    asked: Asked


@dataclass(frozen=True, slots=True)
class WindowDone:
    """One row of what is done: the plan at first, then windows of any span."""

    plan: Plan | None = None
    span: int = -1
    told: tuple[Segment, ...] = ()
    state: SpanState | None = None


_CONFIG = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings")
_ASKED: TypeAdapter[tuple[Asked]] = TypeAdapter(tuple[Asked], config=_CONFIG)
_WINDOW: TypeAdapter[tuple[WindowDone]] = TypeAdapter(tuple[WindowDone], config=_CONFIG)
_TRANSCRIPT: TypeAdapter[tuple[Transcript]] = TypeAdapter(tuple[Transcript], config=_CONFIG)
"""In a tuple, because a dataclass by itself takes no configuration."""


def pack_asked(asked: Asked) -> bytes:
    """As JSON."""
    return _ASKED.dump_json((asked,))


def unpack_asked(data: bytes) -> Asked:
    """The reverse."""
    return _ASKED.validate_json(data)[0]


def pack_window(window: WindowDone) -> bytes:
    """As compressed JSON: tokens and words take a fifth of it."""
    return zlib.compress(_WINDOW.dump_json((window,)), 1)


def unpack_window(data: bytes) -> WindowDone:
    """The reverse."""
    return _WINDOW.validate_json(zlib.decompress(data))[0]


def pack_transcript(transcript: Transcript) -> bytes:
    """As compressed JSON."""
    return zlib.compress(_TRANSCRIPT.dump_json((transcript,)))


def unpack_transcript(data: bytes) -> Transcript:
    """The reverse."""
    return _TRANSCRIPT.validate_json(zlib.decompress(data))[0]
