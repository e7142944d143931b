"""Jobs at a server, several at once: tried again where that makes sense, told as they end.

Knows: threads, tries, waits, what makes all further requests pointless.
Must not know: the command line, names of files.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ops.client import ClientError
from ops.transcribe.pace import Pace
from ops.transcribe.plan import Job

FULL = (429, 503)
"""The server has no room for more at present."""
HOPELESS = (401, 403)
"""A wrong key, or one without the scope: other recordings would not fare better."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
"""Seconds before the second try, doubled each time, if the server is silent (as OpenAI's SDKs)."""
LONGEST_PAUSE = 60.0
"""Seconds that a server is believed; one that means more says `x-should-retry: false`."""

Work = Callable[[Job], None]
"""Sends a recording and writes its results; ClientError, OSError or ValueError if it cannot."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended; `error` is None if all its results are there."""

    job: Job
    seconds: float
    error: str | None = None


class Run:
    """All jobs, by `parallel` threads at the most, which end with the process."""

    def __init__(self, work: Work, *, parallel: int, max_retries: int) -> None:
        self._work = work
        self._parallel = parallel
        self._max_retries = max_retries
        self._pace = Pace(parallel)
        self._hopeless: str | None = None

    def outcomes(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Each job's end, as they come."""
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        ended: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)

        def work() -> None:
            while True:
                try:
                    job = waiting.get_nowait()
                except queue.Empty:
                    return
                ended.put(self._outcome(job))

        for _ in range(min(self._parallel, len(jobs))):
            threading.Thread(target=work, daemon=True).start()
        for _ in jobs:
            yield ended.get()

    def _outcome(self, job: Job) -> Outcome:
        started = time.monotonic()
        try:
            self._try(job)
        except (ClientError, OSError, ValueError) as error:
            return Outcome(job, time.monotonic() - started, str(error))
        return Outcome(job, time.monotonic() - started)

    def _try(self, job: Job) -> None:
        """Until it is done, refused, or was tried often enough."""
        for tries in range(self._max_retries + 1):
            wait = min(FIRST_WAIT * 2**tries, LONGEST_WAIT)
            with self._pace.turn():
                if self._hopeless:
                    raise ClientError(f"not sent: {self._hopeless}")
                try:
                    self._work(job)
                except ClientError as error:
                    last = tries == self._max_retries
                    if last or not error.temporary:
                        if error.status in HOPELESS or error.unreachable:
                            self._hopeless = str(error)
                        raise
                    if error.retry_after is not None:
                        wait = min(error.retry_after, LONGEST_PAUSE)
                    if error.status in FULL:
                        self._pace.pause(wait)
                        continue
                else:
                    self._pace.answered()
                    return
            time.sleep(wait)
