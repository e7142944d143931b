"""What is asked of the tables by a worker: claims, leases, windows, ends.

Knows: SQL, in the transaction that it is given.
Must not know: which database it is, who asks, what a transcription is.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from server.jobs.record import (
    Claimed,
    State,
    WindowDone,
    pack_window,
    unpack_asked,
    unpack_window,
)
from server.jobs.schema import JOBS, TURNS, WINDOWS

Found: TypeAlias = Row[*tuple[Any, ...]]

LOOK_AT = 16
"""Callers whose jobs are looked at for one that no other server is just taking."""

_CLAIM = (
    JOBS.c.seq,
    JOBS.c.id,
    JOBS.c.owner,
    JOBS.c.model,
    JOBS.c.attempts,
    JOBS.c.audio_s,
    JOBS.c.request,
)


@dataclass(frozen=True, slots=True)
class Lease:
    """A job that is held, and under which claim."""

    seq: int
    claim: str


@dataclass(frozen=True, slots=True)
class End:
    """How a job ended, and until when that is kept."""

    state: State
    finished: float
    expires: float
    transcript: bytes | None = None
    error: str | None = None


def claim(
    connection: Connection, now: float, lease_until: float, models: Collection[str], token: str
) -> Claimed | None:
    """Take the next job: one that its worker lost, else that of the caller who had least.

    `token` is a word that was never used before: what a database forgets when it dies cannot
    give two workers the same claim.
    """
    found = _lost(connection, now, models) or _next(connection, models)
    if found is None:
        return None
    connection.execute(
        update(JOBS)
        .where(JOBS.c.seq == found.seq)
        .values(
            state="running",
            claim=token,
            attempts=found.attempts + 1,
            lease_until=lease_until,
            started=func.coalesce(JOBS.c.started, now),
        )
    )
    return Claimed(
        found.seq,
        found.id,
        found.owner,
        found.model,
        token,
        found.attempts + 1,
        found.audio_s,
        unpack_asked(found.request),
    )


def _lost(connection: Connection, now: float, models: Collection[str]) -> Found | None:
    ended = (JOBS.c.state == "running", JOBS.c.lease_until < now, JOBS.c.model.in_(models))
    query = select(*_CLAIM).where(*ended).order_by(JOBS.c.seq).limit(1)
    return connection.execute(query.with_for_update(skip_locked=True)).first()


def _next(connection: Connection, models: Collection[str]) -> Found | None:
    waits = (JOBS.c.state == "queued", JOBS.c.model.in_(models))
    # Not `EXISTS`: a planner may answer that by reading all that wait.
    first = (
        select(JOBS.c.seq)
        .where(*waits, JOBS.c.owner == TURNS.c.owner)
        .order_by(JOBS.c.seq)
        .limit(1)
        .scalar_subquery()
    )
    owners = (
        select(TURNS.c.owner)
        .where(first.is_not(None))
        .order_by(TURNS.c.served, TURNS.c.owner)
        .limit(LOOK_AT)
    )
    for owner in connection.execute(owners).scalars().all():
        mine = select(*_CLAIM).where(*waits, JOBS.c.owner == owner).order_by(JOBS.c.seq).limit(1)
        if found := connection.execute(mine.with_for_update(skip_locked=True)).first():
            served = TURNS.c.served + found.audio_s
            connection.execute(update(TURNS).where(TURNS.c.owner == owner).values(served=served))
            return found
    return None


def renew(connection: Connection, held: Iterable[Lease], until: float) -> set[str]:
    """Go on holding jobs; the claims that still hold."""
    return {
        lease.claim
        for lease in held
        if connection.execute(
            update(JOBS).where(*_is_held(lease)).values(lease_until=until)
        ).rowcount
    }


def give_up(connection: Connection, lease: Lease, until: float, *, counts: bool) -> None:
    """Let another worker have it from `until` on; an attempt that does not count is taken back."""
    attempts = JOBS.c.attempts if counts else JOBS.c.attempts - 1
    connection.execute(
        update(JOBS).where(*_is_held(lease)).values(lease_until=until, attempts=attempts)
    )


def keep(
    connection: Connection, lease: Lease, first: int, rows: Sequence[WindowDone], done_s: float
) -> bool:
    """Write windows that are done, numbered from `first`; whether the job is still held."""
    held = connection.execute(
        update(JOBS).where(*_is_held(lease)).values(done_s=done_s, attempts=1)
    )
    if held.rowcount and rows:
        connection.execute(
            insert(WINDOWS),
            [
                {"job": lease.seq, "number": number, "content": pack_window(row)}
                for number, row in enumerate(rows, start=first)
            ],
        )
    return bool(held.rowcount)


def windows_of(connection: Connection, seq: int) -> list[WindowDone]:
    """What is done of a job, in the order in which it was done."""
    query = select(WINDOWS.c.content).where(WINDOWS.c.job == seq).order_by(WINDOWS.c.number)
    return [unpack_window(content) for content in connection.execute(query).scalars()]


def end(connection: Connection, lease: Lease, how: End) -> bool:
    """The job is done, one way or the other; False if it is no longer held."""
    values = asdict(how)
    if how.state == "succeeded":
        values["done_s"] = JOBS.c.audio_s
    done = connection.execute(update(JOBS).where(*_is_held(lease)).values(**values)).rowcount
    if done:
        connection.execute(delete(WINDOWS).where(WINDOWS.c.job == lease.seq))
    return bool(done)


def _is_held(lease: Lease) -> tuple[Any, ...]:
    return (JOBS.c.seq == lease.seq, JOBS.c.claim == lease.claim, JOBS.c.state == "running")
