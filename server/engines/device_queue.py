"""Windows that wait for a GPU, and which GPU they go to.

Knows: how many sequences each executor has and may have, deadlines, cancelling.
Must not know: prompts, what an executor answers.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import structlog

from server import texts
from server.engines.batching import Job, unavailable
from server.engines.executor import WindowExecutor
from server.engines.flight import WindowOutcome
from server.errors import DeadlineExceeded, EngineError, Overloaded, ServerError

MAX_WAITING = 4096
"""Windows that wait here; the scheduler submits far fewer."""

LOOK_SECONDS = 0.25
"""Between two looks for windows whose time is over while they wait."""

OpenExecutor: TypeAlias = Callable[[Callable[[], None]], WindowExecutor]
"""Opens one; it is told whom to tell when something has changed."""


@dataclass(slots=True, eq=False)
class WindowJob(Job):
    """`payload` makes the task, on the queue's thread; `conclude` makes the future's result.

    It is given the outcome and the seconds that the window waited.
    """

    conclude: Callable[[WindowOutcome, float], object] = lambda outcome, _: outcome
    sequences: int = 1
    executor: WindowExecutor | None = None
    number: int = 0


class DeviceQueue:
    """One bounded queue before all GPUs. Every job's future ends, also on `close`.

    A window waits here and not in an executor, so that it goes to whichever GPU is free first and
    can be dropped at once. The first in the queue goes first, to the GPU with the fewest sequences.
    """

    def __init__(self, executors: Sequence[OpenExecutor]) -> None:
        """Open all executors; blocks. What they raise is passed on, after the others are closed."""
        self._waiting: list[WindowJob] = []
        self._flying: set[WindowJob] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._executors: list[WindowExecutor] = []
        try:
            for open_executor in executors:
                self._executors.append(open_executor(self._notify))
        except BaseException:
            for executor in self._executors:
                executor.close(0)
            raise
        self._dispatcher = threading.Thread(target=self._dispatch, name="trtllm", daemon=True)
        self._dispatcher.start()

    @property
    def healthy(self) -> bool:
        """Open, and every GPU works."""
        return not self._closed and all(executor.healthy for executor in self._executors)

    @property
    def kv_cache_used(self) -> float | None:
        """Share of the fullest GPU's cache; None before the first iteration."""
        used = [executor.kv_cache_used for executor in self._executors]
        return max((share for share in used if share is not None), default=None)

    def submit(self, job: WindowJob) -> Future[Any]:
        """Queue a job; a full, closed or broken queue shows in its future."""
        job.future.add_done_callback(lambda future: self._left(job) if future.cancelled() else None)
        with self._changed:
            if self._closed:
                job.finish(EngineError("The engine is stopping."))
            elif not self.healthy:
                job.finish(unavailable())
            elif len(self._waiting) >= MAX_WAITING:
                job.finish(Overloaded(texts.ENGINE_QUEUE_FULL, retry_after=5))
            else:
                self._waiting.append(job)
                self._changed.notify_all()
        return job.future

    def cancel(self, request_id: int) -> None:
        """End everything of this request, waiting or in flight."""
        with self._changed:
            mine = [job for job in (*self._waiting, *self._flying) if job.request_id == request_id]
        for job in mine:
            job.future.cancel()

    def counts(self) -> tuple[int, int]:
        """(windows that wait, windows in flight)."""
        with self._changed:
            return len(self._waiting), len(self._flying)

    def close(self, timeout: float) -> None:
        """Stop: what waits ends at once, what is in flight is cancelled."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._closed = True
            ended = [*self._waiting, *self._flying]
            self._waiting = []
            self._changed.notify_all()
        for job in ended:
            job.finish(EngineError("The engine is stopping."))
        self._dispatcher.join(max(0.0, deadline - time.monotonic()))
        for executor in self._executors:
            executor.close(max(0.0, deadline - time.monotonic()))

    def _dispatch(self) -> None:
        while (taken := self._next()) is not None:
            job, executor = taken
            try:
                task = job.payload()
            except ServerError as error:
                self._end(job, error)
                continue
            except Exception as error:  # noqa: BLE001 - the job must end, whatever failed
                structlog.get_logger().error("window_not_prepared", exc_info=error)
                self._end(job, EngineError(texts.ENGINE_FAILED))
                continue
            waited = time.monotonic() - job.enqueued_at
            number = executor.start(task, partial(self._concluded, job, waited))
            job.executor, job.number = executor, number
            if job.future.done():  # it was cancelled on the way
                executor.cancel(number)

    def _next(self) -> tuple[WindowJob, WindowExecutor] | None:
        """The next job and where there is room for it; None when it is over."""
        while True:
            with self._changed:
                overdue = self._take_overdue()
                broken = [] if self.healthy else self._waiting
                if broken:
                    self._waiting = []
                executor = self._free()
                if self._closed:
                    return None
                if executor is not None and not overdue and not broken:
                    job = self._waiting.pop(0)
                    self._flying.add(job)
                    return job, executor
                if not overdue and not broken:
                    self._changed.wait(LOOK_SECONDS if self._waiting else None)
            for job in overdue:
                job.finish(DeadlineExceeded(texts.DEADLINE_EXCEEDED))
            for job in broken:
                job.finish(unavailable())

    def _take_overdue(self) -> list[WindowJob]:
        now = time.monotonic()
        overdue = [job for job in self._waiting if now > (job.deadline or now)]
        if overdue:
            self._waiting = [job for job in self._waiting if job not in overdue]
        return overdue

    def _free(self) -> WindowExecutor | None:
        """The GPU with the fewest sequences, if the first in the queue has room there."""
        if not self._waiting:
            return None
        executor = min(self._executors, key=lambda each: each.in_flight / each.places)
        wanted = min(self._waiting[0].sequences, executor.places)
        return executor if executor.in_flight + wanted <= executor.places else None

    def _concluded(
        self, job: WindowJob, waited: float, outcome: WindowOutcome | ServerError
    ) -> None:
        if isinstance(outcome, ServerError):
            self._end(job, outcome)
        else:
            self._end(job, job.conclude(outcome, waited))

    def _end(self, job: WindowJob, result: object) -> None:
        with self._changed:
            self._flying.discard(job)
            self._changed.notify_all()
        job.finish(result)

    def _left(self, job: WindowJob) -> None:
        """Nobody waits for this job any more."""
        job.future.set_running_or_notify_cancel()
        with self._changed:
            self._waiting = [each for each in self._waiting if each is not job]
            self._flying.discard(job)
            self._changed.notify_all()
        if job.executor is not None:
            job.executor.cancel(job.number)

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
