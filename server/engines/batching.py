"""A queue that batches what waits: when a worker frees, it takes the jobs that fit together.

Knows: jobs, keys, worker threads, deadlines, and when a computation must be given up.
Must not know: what a job computes. A busy engine fills its batches by itself; an idle worker waits
for company only as long as the job allows.
"""

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

import structlog

from server import texts
from server.errors import (
    DeadlineExceeded,
    EngineError,
    EngineUnavailable,
    Overloaded,
    ServerError,
)

WINDOW_TIMEOUT = 120.0
"""Seconds a window in which a batch must be done: a large model on few slow cores takes 60."""

WATCH_SECONDS = 0.5
"""Between two looks at what runs."""


@dataclass(slots=True, eq=False)
class Job:
    """One unit of work; jobs with equal `key` may run in one batch; `small` ones are soon done.

    `linger` is how many seconds a job may wait for others like it while a worker is idle. Where
    only its request has such jobs, `share` of them are a batch.
    """

    request_id: int
    key: Hashable
    payload: Any
    deadline: float | None = None
    small: bool = False
    linger: float = 0.0
    share: int | None = None
    future: Future[Any] = field(default_factory=Future)
    enqueued_at: float = field(default_factory=time.monotonic)

    def finish(self, result: object) -> None:
        """Set the result, or the error if it is one; too late is no fault."""
        try:
            if isinstance(result, BaseException):
                self.future.set_exception(result)
            else:
                self.future.set_result(result)
        except InvalidStateError:
            pass


@dataclass(slots=True, eq=False)
class _Batch:
    """Jobs that run, and when they must be done."""

    jobs: list[Job]
    deadline: float


class BatchQueue:
    """Worker threads over one bounded queue. Every job's future ends, also on `close`.

    A worker that hangs or dies cannot be replaced: what it ran in may be damaged. Then every job
    ends with EngineUnavailable, later ones too, and `healthy` turns false for good.
    """

    def __init__(  # noqa: PLR0913 - bounds, by name
        self,
        run: Callable[[Sequence[Job]], Sequence[object]],
        *,
        workers: int,
        max_batch_size: int,
        spare: int = 0,
        max_waiting: int = 4096,
        window_timeout: float = WINDOW_TIMEOUT,
    ) -> None:
        """`run` computes a batch: one result, or one exception, for each job in order.

        A batch gets `window_timeout` seconds for each of its jobs. `spare` workers more take
        small jobs alone, so that those need not wait until a large one is done.
        """
        self._run = run
        self._max_batch_size = max_batch_size
        self._max_waiting = max_waiting
        self._waiting: list[Job] = []
        self._running: set[_Batch] = set()
        self._window_timeout = window_timeout
        self._idle = {True: 0, False: 0}
        self._closed = False
        self._failed = False
        self._ending = threading.Event()
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(
                target=self._work, args=(index >= workers,), name=f"engine-{index}", daemon=True
            )
            for index in range(workers + spare)
        ]
        for thread in self._threads:
            thread.start()
        self._watcher = threading.Thread(target=self._watch, name="engine-watch", daemon=True)
        self._watcher.start()

    def submit(self, job: Job) -> Future[Any]:
        """Queue a job; a full or closed queue shows in its future."""
        with self._changed:
            if self._failed:
                job.finish(unavailable())
            elif self._closed:
                job.finish(EngineError("The engine is stopping."))
            elif len(self._waiting) >= self._max_waiting:
                job.finish(Overloaded(texts.ENGINE_QUEUE_FULL, retry_after=5))
            else:
                self._waiting.append(job)
                # Whoever wakes may be one that must not take it.
                self._changed.notify_all()
        return job.future

    def cancel(self, request_id: int) -> None:
        """Drop what waits under this id; what already runs goes on."""
        with self._changed:
            dropped = [job for job in self._waiting if job.request_id == request_id]
            self._waiting = [job for job in self._waiting if job.request_id != request_id]
        for job in dropped:
            job.future.cancel()

    def counts(self) -> tuple[int, int]:
        """(jobs that wait, jobs that run)."""
        with self._changed:
            return len(self._waiting), sum(len(batch.jobs) for batch in self._running)

    @property
    def healthy(self) -> bool:
        """Open, and no worker has been given up."""
        return not self._closed and not self._failed

    def close(self, timeout: float) -> None:
        """Stop: what waits ends at once, what runs gets `timeout` seconds."""
        deadline = time.monotonic() + timeout
        self._ending.set()
        with self._changed:
            self._closed = True
            dropped, self._waiting = self._waiting, []
            self._changed.notify_all()
        for job in dropped:
            job.finish(EngineError("The engine is stopping."))
        for thread in (self._watcher, *self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            unfinished = [job for batch in self._running for job in batch.jobs]
        for job in unfinished:
            job.finish(EngineError("The engine was stopped before this window was done."))

    def _work(self, spare: bool) -> None:
        while batch := self._take(spare):
            try:
                results = self._run(batch.jobs)
            except ServerError as error:
                results = [error] * len(batch.jobs)
            except Exception as error:  # noqa: BLE001 - the batch must end, whatever failed
                failure = EngineError(texts.ENGINE_FAILED)
                failure.__cause__ = error
                results = [failure] * len(batch.jobs)
            except BaseException as error:  # noqa: BLE001 - whoever ends a thread ends the engine
                structlog.get_logger().error("engine_died", exc_info=error)
                self._give_up()
                return
            with self._changed:
                self._running.discard(batch)
            for job, result in zip(batch.jobs, results, strict=True):
                job.finish(result)

    def _take(self, spare: bool) -> _Batch | None:
        """The next batch; None when it is over. Leaves their share to other idle workers."""
        while True:
            with self._changed:
                self._idle[spare] += 1
                while not (self._closed or self._failed or (taken := self._next(spare))):
                    self._changed.wait(self._patience(spare))
                self._idle[spare] -= 1
                if self._closed or self._failed:
                    return None
                self._waiting = [job for job in self._waiting if job not in taken]
                jobs = [job for job in taken if self._start(job)]
                batch = _Batch(jobs, time.monotonic() + self._window_timeout * len(jobs))
                if jobs:
                    self._running.add(batch)
                    return batch

    def _next(self, spare: bool) -> list[Job]:
        """What such a worker takes now: the oldest job that waits no longer, and those like it."""
        mine = [job for job in self._waiting if job.small or not spare]
        now = time.monotonic()
        for first in mine:
            alike = [job for job in mine if job.key == first.key]
            idle = self._idle[spare]
            most = self._most(first, alike)
            if first.enqueued_at + first.linger <= now or len(alike) >= idle * most:
                return alike[: min(-(-len(alike) // idle), most)]
        return []

    def _most(self, first: Job, alike: Sequence[Job]) -> int:
        """Jobs of a batch at most: fewer than the bound while one request has the queue alone."""
        if first.share and all(job.request_id == first.request_id for job in alike):
            return min(first.share, self._max_batch_size)
        return self._max_batch_size

    def _patience(self, spare: bool) -> float | None:
        """Seconds until a job will have lingered long enough; None if none lingers."""
        ends = [job.enqueued_at + job.linger for job in self._waiting if job.small or not spare]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _watch(self) -> None:
        """Give up when a batch is not done in its time: a native call cannot be interrupted."""
        while not self._ending.wait(min(WATCH_SECONDS, self._window_timeout / 4)):
            with self._changed:
                now = time.monotonic()
                late = [len(batch.jobs) for batch in self._running if batch.deadline < now]
            if late:
                structlog.get_logger().error(
                    "engine_stuck", windows=sum(late), window_timeout=self._window_timeout
                )
                self._give_up()
                return

    def _give_up(self) -> None:
        with self._changed:
            self._failed = True
            jobs = [*self._waiting, *(job for batch in self._running for job in batch.jobs)]
            self._waiting = []
            self._changed.notify_all()
        for job in jobs:
            job.finish(unavailable())

    @staticmethod
    def _start(job: Job) -> bool:
        """Whether anybody still waits for this job."""
        if not job.future.set_running_or_notify_cancel():
            return False
        if job.deadline is not None and time.monotonic() > job.deadline:
            job.finish(DeadlineExceeded(texts.DEADLINE_EXCEEDED))
            return False
        return True


def unavailable() -> EngineUnavailable:
    """What whoever waits is told when an engine has failed for good."""
    return EngineUnavailable(texts.ENGINE_STOPPED, retry_after=30)
