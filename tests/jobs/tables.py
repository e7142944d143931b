"""One database of jobs, as a server's thread would use it."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from server.jobs.database import Database

T = TypeVar("T")


class Tables:
    """One database; `do` runs a transaction, as a server's thread would."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.database = Database(folder, url)

    def do(self, work: Callable[[Connection], T]) -> T:
        """Something, committed when this returns."""
        return self.database._run(work)

    def other(self) -> Database:
        """A connection as of another server."""
        return Database(self.folder, self.url)

    def close(self) -> None:
        """Let the threads go."""
        self.database._threads.shutdown()
        self.database._engine.dispose()
