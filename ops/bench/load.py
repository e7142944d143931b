"""Requests at a server: so many clients that wait for their answers, or so many a second.

Knows: threads, clocks, bounds on count and time.
Must not know: HTTP, what an answer holds, how results are summed up.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from ops.accuracy.manifest import Clip
from ops.client import ClientError

Ask = Callable[[Clip], str]
"""Sends a clip; its text, or ClientError."""

MAX_OPEN = 64
"""Requests that the open loop has under way at most; a server that is slower is overloaded."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answered request: seconds from when it was due, and what came."""

    clip: str
    audio_s: float
    latency: float
    text: str
    error: str | None = None


def timed(ask: Ask, clip: Clip, due: float) -> Sample:
    """One request; a refusal is a sample, too."""
    text, problem = "", None
    try:
        text = ask(clip)
    except ClientError as error:
        problem = str(error)
    return Sample(clip.name, clip.seconds, time.perf_counter() - due, text, problem)


def closed_loop(  # noqa: PLR0913 - bounds, by name
    ask: Ask,
    clips: Sequence[Clip],
    *,
    clients: int,
    count: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Sample]:
    """`clients` send the clips in turn, each the next one when it has its answer.

    Ends after `count` requests, or when `seconds` have passed; what runs then is waited for.
    """
    end = clock() + seconds
    turns = iter(itertools.islice(itertools.cycle(clips), count))
    lock = threading.Lock()
    samples: list[Sample] = []

    def client() -> None:
        while clock() < end:
            with lock:
                clip = next(turns, None)
            if clip is None:
                return
            sample = timed(ask, clip, time.perf_counter())
            with lock:
                samples.append(sample)

    with ThreadPoolExecutor(clients) as pool:
        for future in [pool.submit(client) for _ in range(clients)]:
            future.result()
    return samples


def open_loop(
    ask: Ask, clips: Sequence[Clip], *, rate: float, count: int, seconds: float
) -> list[Sample]:
    """`rate` requests a second whether or not answers come: what independent callers do.

    A request that could not be sent in time counts from when it was due.
    """
    count = min(count, max(1, int(rate * seconds)))
    start = time.perf_counter()
    with ThreadPoolExecutor(min(count, MAX_OPEN)) as pool:
        futures = []
        for number, clip in enumerate(itertools.islice(itertools.cycle(clips), count)):
            due = start + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            futures.append(pool.submit(timed, ask, clip, due))
        return [future.result() for future in futures]


@contextmanager
def in_the_background(ask: Ask, clip: Clip) -> Iterator[list[Sample]]:
    """Send a clip over and over meanwhile; leaving waits for the last answer."""
    stop = threading.Event()
    samples: list[Sample] = []

    def work() -> None:
        while not stop.is_set():
            samples.append(timed(ask, clip, time.perf_counter()))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()
