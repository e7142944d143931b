"""A window in TensorRT-LLM's executor, and what its answers add up to.

Knows: finish reasons, sequences, forced tokens; how a failure is told and to whom.
Must not know: threads, the executor itself, when an answer comes (`executor.py`).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import structlog

from server import texts
from server.engines.executor_calls import WindowTask
from server.engines.logits import Reading
from server.errors import DeadlineExceeded, EngineError, ServerError


@dataclass(frozen=True, slots=True)
class WindowOutcome:
    """What became of a window, by sequence: tokens after the forced ones, what their logits told.

    `compute_s` is this window's share of the time that it was in flight, among `batch_size`
    sequences.
    """

    tokens: tuple[tuple[int, ...], ...]
    readings: tuple[Reading, ...]
    compute_s: float
    batch_size: int


Done: TypeAlias = Callable[[WindowOutcome | ServerError], None]
"""Told once what became of a window; on the reader's thread, so it must not block."""


@dataclass(slots=True, eq=False)
class Flight:
    """A window in the executor, until its final answer is here. `told`: nobody waits any more."""

    task: WindowTask
    done: Done
    started: float
    company: int
    request_id: int | None = None
    told: bool = False
    answers: dict[int, tuple[tuple[int, ...], Any]] = field(default_factory=dict)

    def outcome(
        self,
        reasons: Any,  # noqa: ANN401 - see Bindings
        read: Callable[[Sequence[int]], Sequence[Reading]],
        company: float,
    ) -> WindowOutcome | ServerError:
        """What became of it, once every sequence has answered.

        Args:
            reasons: the bindings' `FinishReason`.
            read: what the logits told of each sequence, given its last token.
            company: sequences in flight, on average, while it was.
        """
        answers = [self.answers[index] for index in sorted(self.answers)]
        ended = {reason for _, reason in answers}
        if reasons.TIMED_OUT in ended:
            return overdue()
        if ended - {reasons.END_ID, reasons.LENGTH}:
            return EngineError("The speech engine stopped a window.", reason="window_stopped")
        end, forced = self.task.end_token, self.task.course.forced
        try:
            # The end token is not part of an answer; should it ever be, it is no text.
            lasts = [end if reason == reasons.END_ID else tokens[-1] for tokens, reason in answers]
            spoken = [tokens[:-1] if tokens[-1:] == (end,) else tokens for tokens, _ in answers]
            readings = read(lasts)
        except Exception as error:  # noqa: BLE001 - a GPU's error shows where it is waited for
            return failure("The speech engine's logits cannot be read.", error)
        if any(tokens[: len(forced)] != forced[: len(tokens)] for tokens in spoken):
            return EngineError("The speech engine left its rules.", reason="rules_not_applied")
        return WindowOutcome(
            tuple(tokens[len(forced) :] for tokens in spoken),
            tuple(readings),
            (time.monotonic() - self.started) * self.task.sequences / company,
            round(company),
        )


def overdue() -> DeadlineExceeded:
    """Its deadline passed, whoever noticed."""
    return DeadlineExceeded(texts.DEADLINE_EXCEEDED)


def failure(message: str, cause: object) -> EngineError:
    """For the client without the cause, which may hold a path; for the log with it."""
    structlog.get_logger().error("engine_refused", cause=describe(cause))
    error = EngineError(message)
    if isinstance(cause, BaseException):
        error.__cause__ = cause
    return error


def describe(cause: object) -> str:
    """The first line of what the library says; it holds no tokens."""
    return str(cause).partition("\n")[0][:200]
