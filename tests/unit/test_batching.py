import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from server.engines.batching import BatchQueue, Job
from server.errors import DeadlineExceeded, EngineError, EngineUnavailable, Overloaded


class Recorder:
    """A computation that can be held, and that remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, batch: Sequence[Job]) -> list[object]:
        self.batches.append([job.request_id for job in batch])
        assert self.go.wait(10)
        return [job.request_id * 10 for job in batch]


def _queue(run: Recorder, workers: int = 1, **bounds: Any) -> BatchQueue:
    return BatchQueue(run, workers=workers, **({"max_batch_size": 4} | bounds))


def _occupy(queue: BatchQueue, run: Recorder) -> Job:
    """Hold the only worker with a first job, so that what follows waits."""
    run.go.clear()
    job = Job(0, "a", None)
    queue.submit(job)
    while not run.batches:
        time.sleep(0.001)
    return job


def test_what_waits_is_taken_together_by_key() -> None:
    """When the worker frees it takes all jobs like the oldest, up to the bound."""
    run = Recorder()
    queue = _queue(run)
    _occupy(queue, run)
    futures = [queue.submit(Job(index, "ab"[index % 2], None)) for index in range(1, 8)]
    run.go.set()
    assert [10 * index for index in range(1, 8)] == [future.result(5) for future in futures]
    assert [[0], [1, 3, 5, 7], [2, 4, 6]] == run.batches
    queue.close(1)


def test_idle_workers_share_what_waits() -> None:
    """One worker does not take what another could begin at once."""
    run = Recorder()
    queue = _queue(run, workers=2, max_batch_size=8)
    run.go.clear()
    held = [queue.submit(Job(0, f"hold-{index}", None)) for index in range(2)]
    while len(run.batches) < 2:
        time.sleep(0.001)
    futures = [queue.submit(Job(index, "a", None)) for index in range(1, 5)]
    run.go.set()
    for future in [*held, *futures]:
        future.result(5)
    assert 4 == sum(len(batch) for batch in run.batches[2:])
    queue.close(1)


def test_a_spare_worker_takes_small_jobs_alone() -> None:
    """They do not wait for a large one that runs, and it does not take what is large."""
    run = Recorder()
    queue = _queue(run, spare=1)
    held = _occupy(queue, run)
    large = [queue.submit(Job(index, "a", None)) for index in (1, 2)]
    small = [queue.submit(Job(index, "b", None, small=True)) for index in (3, 4)]
    while len(run.batches) < 2:
        time.sleep(0.001)
    time.sleep(0.02)
    assert [[0], [3]] == [batch[:1] for batch in run.batches]
    run.go.set()
    for future in (held.future, *large, *small):
        future.result(5)
    assert [1, 2] in run.batches
    queue.close(1)


def test_an_idle_worker_waits_for_company_as_long_as_the_job_allows() -> None:
    """Jobs that come within that time are one batch; one that is alone runs in the end."""
    run = Recorder()
    queue = _queue(run)
    first = queue.submit(Job(1, "a", None, linger=0.2))
    time.sleep(0.02)
    second = queue.submit(Job(2, "a", None, linger=0.2))
    assert (10, 20) == (first.result(5), second.result(5))
    started = time.monotonic()
    assert 30 == queue.submit(Job(3, "a", None, linger=0.1)).result(5)
    assert 0.1 <= time.monotonic() - started < 2
    assert [[1, 2], [3]] == run.batches
    queue.close(1)


def test_a_full_batch_and_other_jobs_do_not_linger() -> None:
    """Nor does what waits behind a job that does."""
    run = Recorder()
    queue = _queue(run)
    patient = queue.submit(Job(0, "a", None, linger=60))
    assert 90 == queue.submit(Job(9, "b", None)).result(5)
    more = [queue.submit(Job(index, "a", None, linger=60)) for index in (1, 2, 3)]
    assert [0, 10, 20, 30] == [future.result(5) for future in (patient, *more)]
    assert [[9], [0, 1, 2, 3]] == run.batches
    queue.close(1)


def test_a_request_alone_is_shared_out() -> None:
    """Its jobs go to the workers in batches of its share, full ones where others wait as well."""
    for requests, batches in (((7, 7, 7, 7), [[7, 7], [7, 7]]), ((1, 2, 2, 3), [[1, 2, 2, 3]])):
        run = Recorder()
        queue = _queue(run)
        held = _occupy(queue, run)
        futures = [queue.submit(Job(index, "a", None, linger=60, share=2)) for index in requests]
        run.go.set()
        assert [0] == [held.future.result(5)]
        assert [10 * index for index in requests] == [future.result(5) for future in futures]
        assert batches == run.batches[1:]
        queue.close(1)


def test_a_failure_ends_every_job_of_its_batch() -> None:
    """As an EngineError that keeps the cause for the log; the worker goes on."""

    def fail(batch: Sequence[Job]) -> list[object]:
        if batch[0].key == "bad":
            raise RuntimeError("out of memory in /secret/path")
        return ["fine" for _ in batch]

    queue = BatchQueue(fail, workers=1, max_batch_size=4)
    with pytest.raises(EngineError) as caught:
        queue.submit(Job(1, "bad", None)).result(5)
    assert "secret" not in caught.value.message
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert "fine" == queue.submit(Job(2, "good", None)).result(5)
    assert queue.healthy
    queue.close(1)


def test_cancelled_work_is_not_begun() -> None:
    """By request id, whatever waits; other requests are left alone."""
    run = Recorder()
    queue = _queue(run)
    _occupy(queue, run)
    dropped = queue.submit(Job(1, "a", None))
    kept = queue.submit(Job(2, "a", None))
    queue.cancel(1)
    queue.cancel(1)
    run.go.set()
    assert 20 == kept.result(5)
    assert dropped.cancelled()
    assert [[0], [2]] == run.batches
    queue.close(1)


def test_work_past_its_deadline_is_not_begun() -> None:
    """It ends with DeadlineExceeded instead of using the engine."""
    run = Recorder()
    queue = _queue(run)
    with pytest.raises(DeadlineExceeded):
        queue.submit(Job(1, "a", None, deadline=time.monotonic() - 1)).result(5)
    assert [] == run.batches
    queue.close(1)


def test_a_full_queue_says_so() -> None:
    """The bound is hard: one more job ends at once."""
    run = Recorder()
    queue = _queue(run, max_waiting=1)
    held = _occupy(queue, run)
    waiting = queue.submit(Job(1, "a", None))
    with pytest.raises(Overloaded):
        queue.submit(Job(2, "a", None)).result(5)
    run.go.set()
    assert (0, 10) == (held.future.result(5), waiting.result(5))
    queue.close(1)


def test_close_ends_every_future() -> None:
    """What waits, what runs too long and what comes later: nobody waits for ever."""
    run = Recorder()
    queue = _queue(run)
    running = _occupy(queue, run)
    waiting = queue.submit(Job(1, "a", None))
    queue.close(0.05)
    late = queue.submit(Job(2, "a", None))
    for future in (running.future, waiting, late):
        assert isinstance(future.exception(1), EngineError)
    assert not queue.healthy
    run.go.set()


def test_a_batch_that_takes_too_long_ends_the_queue() -> None:
    """All that runs, waits or comes later hears it, in little more than the time that is set."""
    run = Recorder()
    queue = _queue(run, window_timeout=0.2)
    running = _occupy(queue, run)
    waiting = queue.submit(Job(1, "a", None))
    started = time.monotonic()
    for future in (running.future, waiting):
        assert isinstance(future.exception(5), EngineUnavailable)
    assert time.monotonic() - started < 1
    assert isinstance(queue.submit(Job(2, "a", None)).exception(1), EngineUnavailable)
    assert not queue.healthy
    run.go.set()
    queue.close(1)
    assert [[0]] == run.batches


def test_each_window_of_a_batch_has_its_time() -> None:
    """Four take four times as long as one, and nobody is stuck."""

    def slow(batch: Sequence[Job]) -> list[object]:
        time.sleep(0.15 * len(batch))
        return ["done" for _ in batch]

    queue = BatchQueue(slow, workers=1, max_batch_size=4, window_timeout=0.3)
    futures = [queue.submit(Job(index, "a", None)) for index in range(5)]
    assert ["done"] * 5 == [future.result(5) for future in futures]
    assert queue.healthy
    queue.close(1)


def test_a_worker_that_dies_ends_the_queue() -> None:
    """Not even the end of a thread leaves somebody waiting."""

    def die(_batch: Sequence[Job]) -> list[object]:
        raise SystemExit

    queue = BatchQueue(die, workers=2, max_batch_size=1)
    assert isinstance(queue.submit(Job(1, "a", None)).exception(5), EngineUnavailable)
    assert not queue.healthy
    queue.close(1)


def test_close_leaves_no_thread() -> None:
    """Neither a worker nor the watch."""
    before = set(threading.enumerate())  # some of them may end meanwhile
    queue = _queue(Recorder(), workers=3)
    assert 4 == len(set(threading.enumerate()) - before)
    queue.close(5)
    assert not set(threading.enumerate()) - before
