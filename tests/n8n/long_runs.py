"""Transcriptions that take longer than the 300 s after which n8n gives a silent server up.

Knows: a server slowed down by its engine, and what is asked of it.
Must not know: how n8n is run.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ClassVar

from n8n_process import Execution, N8n


class LongRuns:
    """Executions in the background, by the names of their workflows."""

    AUDIO_SECONDS: ClassVar = 60.0
    SLOW: ClassVar = {"FAKE_WINDOW_SECONDS": "24"}
    """Two workers, three requests of 10 windows each: some 350 s in all."""
    WORKFLOWS: ClassVar = ("long-http", "long-https", "silent")

    def __init__(self, new_n8n: Callable[[], N8n]) -> None:
        pool = ThreadPoolExecutor(len(self.WORKFLOWS))
        self._runs: dict[str, Future[Execution]] = {
            name: pool.submit(new_n8n().execute, name, 1200.0) for name in self.WORKFLOWS
        }
        pool.shutdown(wait=False)

    def result(self, name: str) -> Execution:
        """Wait for its end."""
        return self._runs[name].result(1200)
