"""The tables, as they are now, and the steps that lead there from any earlier version.

Knows: columns, indexes, numbered steps.
Must not know: what is asked of the tables, or which database holds them.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    insert,
    select,
    update,
)

METADATA = MetaData()
NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""SQLite gives numbers by itself to `INTEGER` alone."""

JOBS = Table(
    "jobs",
    METADATA,
    Column("seq", NUMBER, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("audio_s", Float, nullable=False),
    Column("done_s", Float, nullable=False, default=0.0),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("finished", Float),
    Column("expires", Float, nullable=False),
    Column("claim", Text, nullable=False, default=""),
    Column("lease_until", Float, nullable=False, default=0.0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("charged", Text),
    Column("error", Text),
    Column("transcript", LargeBinary),
    Index("jobs_in_turn", "state", "owner", "seq", "audio_s"),
    Index("jobs_of_owner", "owner", "seq"),
    Index("jobs_that_expire", "state", "expires"),
)
"""Times are those of `time.time`. A worker writes under its `claim`, a word that no other has."""

WINDOWS = Table(
    "windows",
    METADATA,
    Column("job", NUMBER, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)
"""What is done of a job that runs, in the order in which it was done."""

TURNS = Table(
    "turns",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("served", Float, nullable=False),
)
"""The audio seconds that each caller's jobs were given."""

ANSWERS = Table(
    "answers",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("id", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("claim", Text, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("charged", Text),
    Column("content", LargeBinary),
    Column("content_type", Text),
    Column("warnings", Text),
    Column("job", Text),
    Index("answers_that_expire", "expires"),
)
"""Requests by their Idempotency-Key; those without `content` and `job` are under way, or died."""

WEBHOOKS = Table(
    "webhooks",
    METADATA,
    Column("seq", NUMBER, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("job", NUMBER, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("body", LargeBinary),
    Column("created", Float, nullable=False),
    Column("due", Float, nullable=False, default=0.0),
    Column("claim", Text, nullable=False, default=""),
    Column("attempts", Integer, nullable=False, default=0),
    Column("outcome", Text, nullable=False, default=""),
    Index("webhooks_in_turn", "state", "due"),
    Index("webhooks_of_job", "job"),
)
"""What is to be told of jobs. `waiting` until the job ends, then `pending`, `delivered` or `dead`.

`created` is when it was last begun: with the job, then with its end, or by `resend`. A pending one
is sent when it is `due`; while a server sends it, that is when another one may.
"""

VERSION = Table("version", METADATA, Column("number", Integer, nullable=False))


def _first(connection: Connection) -> None:
    METADATA.create_all(connection, tables=[JOBS, WINDOWS, TURNS])


def _answers(connection: Connection) -> None:
    METADATA.create_all(connection, tables=[ANSWERS])


def _webhooks(connection: Connection) -> None:
    METADATA.create_all(connection, tables=[WEBHOOKS])


STEPS: Sequence[Callable[[Connection], None]] = (_first, _answers, _webhooks)
"""Step n leads from version n to n + 1. A step that was released is never changed."""


class TooNewError(Exception):
    """A later version of the server has been here."""


def migrate(connection: Connection) -> None:
    """Bring the tables to this version, in the caller's transaction; nothing if they are there.

    Raises:
        TooNewError: they are beyond it.
    """
    VERSION.create(connection, checkfirst=True)
    found = connection.execute(select(VERSION.c.number)).scalar()
    if found is None:
        connection.execute(insert(VERSION).values(number=0))
    if (found or 0) > len(STEPS):
        raise TooNewError
    for number, step in enumerate(STEPS[found or 0 :], start=(found or 0) + 1):
        step(connection)
        connection.execute(update(VERSION).values(number=number))
