"""A queue that batches what waits: when a worker frees, it takes the jobs that fit together.

Knows: jobs, keys, worker threads, deadlines.
Must not know: what a job computes. There is no timer: an idle worker never waits for a fuller
batch, and a busy engine fills its batches by itself.
"""

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

from server.errors import DeadlineExceeded, EngineError, Overloaded, ServerError


@dataclass(slots=True, eq=False)
class Job:
    """One unit of work; jobs with equal `key` may run in one batch."""

    request_id: int
    key: Hashable
    payload: Any
    deadline: float | None = None
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


class BatchQueue:
    """Worker threads over one bounded queue. Every job's future ends, also on `close`."""

    def __init__(
        self,
        run: Callable[[Sequence[Job]], Sequence[object]],
        *,
        workers: int,
        max_batch_size: int,
        max_waiting: int = 4096,
    ) -> None:
        """`run` computes a batch: one result, or one exception, for each job in order."""
        self._run = run
        self._max_batch_size = max_batch_size
        self._max_waiting = max_waiting
        self._waiting: list[Job] = []
        self._running: set[Job] = set()
        self._idle = 0
        self._closed = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, name=f"engine-{index}", daemon=True)
            for index in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> Future[Any]:
        """Queue a job; a full or closed queue shows in its future."""
        with self._changed:
            if self._closed:
                job.finish(EngineError("The engine is stopping."))
            elif len(self._waiting) >= self._max_waiting:
                job.finish(Overloaded("The engine's queue is full. Try again.", retry_after=5))
            else:
                self._waiting.append(job)
                self._changed.notify()
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
            return len(self._waiting), len(self._running)

    @property
    def healthy(self) -> bool:
        """Open, and no worker thread has died."""
        return not self._closed and all(thread.is_alive() for thread in self._threads)

    def close(self, timeout: float) -> None:
        """Stop: what waits ends at once, what runs gets `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._closed = True
            dropped, self._waiting = self._waiting, []
            self._changed.notify_all()
        for job in dropped:
            job.finish(EngineError("The engine is stopping."))
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            unfinished = list(self._running)
        for job in unfinished:
            job.finish(EngineError("The engine was stopped before this window was done."))

    def _work(self) -> None:
        while batch := self._take():
            try:
                results = self._run(batch)
            except ServerError as error:
                results = [error] * len(batch)
            except Exception as error:  # noqa: BLE001 - the batch must end, whatever failed
                failure = EngineError("The speech engine failed on this audio.")
                failure.__cause__ = error
                results = [failure] * len(batch)
            with self._changed:
                self._running.difference_update(batch)
            for job, result in zip(batch, results, strict=True):
                job.finish(result)

    def _take(self) -> list[Job]:
        """The next batch; empty when closed. Leaves their share to other idle workers."""
        while True:
            with self._changed:
                self._idle += 1
                while not self._waiting and not self._closed:
                    self._changed.wait()
                idle, self._idle = self._idle, self._idle - 1
                if self._closed:
                    return []
                key = self._waiting[0].key
                alike = [job for job in self._waiting if job.key == key]
                share = -(-len(alike) // idle)
                taken = alike[: min(share, self._max_batch_size)]
                self._waiting = [job for job in self._waiting if job not in taken]
                batch = [job for job in taken if self._start(job)]
                self._running.update(batch)
            if batch:
                return batch

    @staticmethod
    def _start(job: Job) -> bool:
        """Whether anybody still waits for this job."""
        if not job.future.set_running_or_notify_cancel():
            return False
        if job.deadline is not None and time.monotonic() > job.deadline:
            job.finish(DeadlineExceeded("The transcription took longer than its limit."))
            return False
        return True
