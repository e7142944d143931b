"""The database of jobs: SQLite in the folder of jobs, or PostgreSQL; threads of its own.

Knows: connections, transactions, durability, what a failure of the database looks like.
Must not know: tables' columns, jobs.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, RootTransaction, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from server import texts
from server.errors import JobsUnavailable
from server.jobs.schema import TooNewError, migrate

BUSY_SECONDS = 5.0
"""Another process may be writing."""

POSTGRES_THREADS = 4
MIGRATION_LOCK = 5_155_0
"""Any number; servers that start together take turns by it."""

T = TypeVar("T")


class DatabaseError(Exception):
    """The database cannot be had; the message is for the person who starts the server."""


class DatabaseAway(DatabaseError):
    """It is elsewhere and does not answer, which may be otherwise in a moment."""


class Database:
    """Runs transactions in threads. SQLite has one writer, so one thread."""

    def __init__(self, folder: Path, url: str = "") -> None:
        """Connect, and bring the tables to this version; blocks.

        Raises:
            DatabaseError: it cannot be opened, or is of a later version.
            DatabaseAway: it does not answer.
        """
        self._engine = _postgres(url) if url else _sqlite(folder / "jobs.sqlite3")
        threads = POSTGRES_THREADS if url else 1
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="jobs")
        try:
            with self._engine.begin() as connection:
                if url:
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
                migrate(connection)
        except TooNewError:
            self._engine.dispose()
            raise DatabaseError("a later version of the server has written it") from None
        except SQLAlchemyError as error:
            self._engine.dispose()
            kind = DatabaseAway if url else DatabaseError
            raise kind(f"cannot be opened ({_kind(error)})") from None

    async def run(self, work: Callable[[Connection], T], *, durable: bool = False) -> T:
        """Do something in one transaction; it is not cut short when the caller is cancelled.

        What is `durable` is on disk when this returns. The rest survives the end of this process,
        however that comes; a loss of power may undo the last of it, in order, and what comes of
        that is only done again.

        Raises:
            JobsUnavailable: the database failed; nothing is done, or all of it.
        """
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._threads, self._run, work, durable))

    def _run(self, work: Callable[[Connection], T], durable: bool = False) -> T:
        try:
            with self._engine.connect() as connection, self._transaction(connection, durable):
                return work(connection)
        except SQLAlchemyError as error:
            raise JobsUnavailable(
                texts.JOBS_UNAVAILABLE, retry_after=5, reason=_kind(error)
            ) from error

    def _transaction(self, connection: Connection, durable: bool) -> RootTransaction:
        if self._engine.dialect.name == "sqlite":
            # Not within a transaction: so past SQLAlchemy, which would begin one.
            raw = connection.connection.driver_connection
            assert raw is not None, "This is a bug: a connection without its driver's."
            raw.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            return connection.begin()
        transaction = connection.begin()
        if not durable:
            connection.execute(text("SET LOCAL synchronous_commit = off"))
        return transaction

    async def close(self) -> None:
        """Let what runs end."""
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._engine.dispose)


def _kind(error: SQLAlchemyError) -> str:
    """Which failure it was, without a word of what was asked."""
    return type(getattr(error, "orig", None) or error).__name__


def _sqlite(file: Path) -> Engine:
    engine = create_engine(f"sqlite:///{file}", connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - SQLAlchemy's own
        connection.isolation_level = None  # the driver must not begin transactions by itself
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_mode = WAL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _postgres(url: str) -> Engine:
    try:
        address = make_url(url)
    except ArgumentError:
        raise DatabaseError("is no address of a database") from None
    if address.get_backend_name() not in ("postgresql", "postgres"):
        raise DatabaseError("has to begin with `postgresql://`")
    try:
        return create_engine(
            address.set(drivername="postgresql+psycopg"),
            pool_size=POSTGRES_THREADS,
            pool_pre_ping=True,
            connect_args={"connect_timeout": 5, "options": "-c statement_timeout=10000"},
        )
    except ImportError:
        raise DatabaseError(
            "needs the driver: `pip install --require-hashes -r requirements/postgres.txt`"
        ) from None
