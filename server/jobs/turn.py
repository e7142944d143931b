"""A request that may come again: who works on it, and what came of it.

Knows: values only.
Must not know: HTTP, databases.
"""

from dataclasses import dataclass

from server.access.allowances import Spent


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A request with an Idempotency-Key: whose it is, and a digest of all that it asks for."""

    owner: str
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """One that may be worked on under this claim, by nobody else; `id` stays from try to try.

    `spent` is what an earlier try was charged.
    """

    request: Repeatable
    id: str
    claim: str
    spent: Spent | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one: a body, or a job. `warnings` are codes for a header."""

    content: bytes | None
    content_type: str
    warnings: str
    job: str | None


@dataclass(slots=True)
class Turn:
    """The answer if there is one, else the right to make it; without a key neither is there."""

    held: Held | None = None
    answer: Answer | None = None
    spent: Spent | None = None
    """What it was charged, by this try or an earlier one; None if that was given back."""
