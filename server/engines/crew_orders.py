"""What a crew and its members say to one another: picklable, and without clocks or errors of ours.

Knows: orders, answers, and the handle of an encoding that lies with a member.
Must not know: how they travel, who is in the crew.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from server.engines.base import EngineInfo
from server.types import (
    Alignment,
    AlignmentRequest,
    GenerationRequest,
    GenerationResult,
    LanguageDetection,
    LogMel,
)

Kind: TypeAlias = Literal["generate", "detect_language", "align"]

Failure: TypeAlias = Literal["deadline", "overloaded", "cancelled", "failed", "broken", "lost"]
"""`broken`: the member's engine is stuck or gone; `lost`: it has forgotten that encoding."""


@dataclass(frozen=True, slots=True)
class Order:
    """One window for a member.

    `request` has neither features nor `encoded`: these travel beside it, `features` by shared
    memory, `key` as the name of an encoding that the member keeps. `left_s` are the seconds to
    its deadline, since an instant of one machine's clock says nothing on another.
    """

    kind: Kind
    request: GenerationRequest | AlignmentRequest
    key: int | None
    left_s: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an order: a result without `encoded`, and the encoding's key; or a failure."""

    result: GenerationResult | LanguageDetection | Alignment | None = None
    key: int | None = None
    failure: Failure | None = None
    message: str = ""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """`encoded` of a crew: where the encoding lies, and its features, should it be gone."""

    member: int
    key: int | None
    features: LogMel | None


Cause: TypeAlias = Literal["engine", "machine", "earlier"]
"""Why a member is gone. Its `engine` ended, and a window that it had may be why; its `machine` or
the way there was lost; or it was gone `earlier` than it had the window."""


class Gone(Exception):
    """A member is gone."""

    def __init__(self, why: str, cause: Cause) -> None:
        super().__init__(why)
        self.cause: Cause = cause


class Member(Protocol):
    """One engine in a process of its own, somewhere."""

    def send(self, order: Order, features: LogMel | None) -> Future[Answer]:
        """Hand over a window; may block for as long as copying it takes. Ends, or raises Gone."""
        ...

    def cancel(self, request_ids: Sequence[int]) -> None:
        """Drop what waits there under these ids; best effort."""
        ...

    def gone(self) -> bool:
        """Whether its machine is known to be gone: what it has may then never end by itself."""
        ...

    def dismiss(self) -> None:
        """End it, whatever it does; idempotent."""
        ...


class Agency(Protocol):
    """Where members come from."""

    def room(self) -> int:
        """How many engines the machines that are there can hold in all; blocks."""
        ...

    def hire(self) -> tuple[Member, Future[EngineInfo]]:
        """Start a member; the future ends when it is loaded and warm, or with an error."""
        ...

    def close(self) -> None:
        """Let go of all that belongs to it."""
        ...
