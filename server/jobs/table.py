"""What is asked of the tables by callers and by the sweep: new jobs, lists, cancelling, expiry.

Knows: SQL, in the transaction that it is given.
Must not know: which database it is, HTTP, files.
"""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, text, update

from server.access.allowances import Spent
from server.access.counters import Counter
from server.jobs.record import Asked, Fault, Job, Queue, State, pack_asked
from server.jobs.schema import JOBS, TURNS, WINDOWS

OPEN: tuple[State, ...] = ("queued", "running")

_AT_THE_START = text(
    "INSERT INTO turns (owner, served) VALUES (:owner, :served) ON CONFLICT DO NOTHING"
)
"""Both databases understand it; SQLAlchemy has a form of its own for each."""

_SEEN = tuple(JOBS.c[name] for name in Job.__slots__)


@dataclass(frozen=True, slots=True)
class NewJob:
    """What is written down when a job is taken."""

    id: str
    owner: str
    model: str
    audio_s: float
    asked: Asked
    spent: Spent | None
    created: float
    expires: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a queued job stands: how many go before it, and seconds of audio until it is done."""

    ahead: int
    audio_s: float


def add(connection: Connection, new: NewJob) -> Job:
    """Put a job at the end of its caller's queue."""
    waits = select(JOBS.c.seq).where(JOBS.c.state.in_(OPEN), JOBS.c.owner == new.owner).limit(1)
    if connection.execute(waits).first() is None:
        _take_turns(connection, new.owner)
    connection.execute(
        insert(JOBS).values(
            id=new.id,
            owner=new.owner,
            state="queued",
            task=new.asked.options.task,
            model=new.model,
            request=pack_asked(new.asked),
            audio_s=new.audio_s,
            created=new.created,
            expires=new.expires,
            charged=_pack_spent(new.spent),
        )
    )
    job = find(connection, new.id, new.owner)
    assert job is not None, "This is a bug: a job is gone that was just written."
    return job


def _take_turns(connection: Connection, owner: str) -> None:
    """Who was idle starts where the others are: time without jobs is no credit."""
    others = select(func.min(TURNS.c.served)).where(
        TURNS.c.owner.in_(select(JOBS.c.owner).where(JOBS.c.state.in_(OPEN)))
    )
    reached = connection.execute(others).scalar() or 0.0
    connection.execute(_AT_THE_START, {"owner": owner, "served": reached})
    mine = (TURNS.c.owner == owner, TURNS.c.served < reached)
    connection.execute(update(TURNS).where(*mine).values(served=reached))


def count_open(connection: Connection, owner: str) -> tuple[int, int, float]:
    """Jobs that are not done: everybody's, one caller's, and seconds of audio of all of them."""
    is_open = JOBS.c.state.in_(OPEN)
    query = select(func.count(), func.sum(JOBS.c.audio_s)).where(is_open)
    every, audio_s = connection.execute(query).one()
    mine = select(func.count()).select_from(JOBS).where(is_open, JOBS.c.owner == owner)
    return every, connection.execute(mine).scalar_one(), audio_s or 0.0


def queue_figures(connection: Connection, now: float) -> Queue:
    """What waits, of everybody; from an index alone, but for the oldest one's row."""
    query = select(func.count(), func.sum(JOBS.c.audio_s), func.min(JOBS.c.seq))
    count, audio_s, first = connection.execute(query.where(JOBS.c.state == "queued")).one()
    created = connection.execute(select(JOBS.c.created).where(JOBS.c.seq == first)).scalar()
    return Queue(count, audio_s or 0.0, 0.0 if created is None else max(now - created, 0.0))


def find(connection: Connection, job_id: str, owner: str) -> Job | None:
    """A caller's job; another one's is not there."""
    query = select(*_SEEN).where(JOBS.c.id == job_id, JOBS.c.owner == owner)
    row = connection.execute(query).first()
    return None if row is None else _job(row)


def by_seq(connection: Connection, seq: int) -> Job:
    """A job that is there, whoever's it is."""
    return _job(connection.execute(select(*_SEEN).where(JOBS.c.seq == seq)).one())


def page(connection: Connection, owner: str, after: str | None, limit: int) -> list[Job] | None:
    """A caller's jobs, newest first, after one of them; None if that is not there."""
    query = select(*_SEEN).where(JOBS.c.owner == owner).order_by(JOBS.c.seq.desc()).limit(limit)
    if after is not None:
        last = find(connection, after, owner)
        if last is None:
            return None
        query = query.where(JOBS.c.seq < last.seq)
    return [_job(row) for row in connection.execute(query)]


def places(connection: Connection, jobs: Collection[Job]) -> dict[int, Place]:
    """Where a caller's jobs stand, by `seq`: others take turns with it, job by job."""
    per_owner = select(
        JOBS.c.owner, func.count().label("count"), func.sum(JOBS.c.audio_s).label("audio_s")
    ).where(JOBS.c.state == "queued")
    others = connection.execute(per_owner.group_by(JOBS.c.owner)).all()
    left = select(func.sum(JOBS.c.audio_s - JOBS.c.done_s)).where(JOBS.c.state == "running")
    running_s = connection.execute(left).scalar() or 0.0
    found = {}
    for job in jobs:
        if job.state == "running":
            found[job.seq] = Place(0, running_s)
        if job.state != "queued":
            continue
        mine = select(func.count(), func.sum(JOBS.c.audio_s)).where(
            JOBS.c.state == "queued", JOBS.c.owner == job.owner, JOBS.c.seq <= job.seq
        )
        count, audio_s = connection.execute(mine).one()
        if not count:
            continue  # another server has just taken it
        before = [
            (min(other.count, count), other.audio_s / other.count)
            for other in others
            if other.owner != job.owner
        ]
        ahead = count - 1 + sum(number for number, _ in before)
        waiting_s = audio_s + sum(number * mean for number, mean in before)
        found[job.seq] = Place(ahead, running_s + waiting_s)
    return found


def transcript_of(connection: Connection, seq: int) -> tuple[bytes | None, bytes]:
    """The packed transcript, and what was asked."""
    query = select(JOBS.c.transcript, JOBS.c.request).where(JOBS.c.seq == seq)
    row = connection.execute(query).one()
    return row.transcript, row.request


def cancel(
    connection: Connection, job: Job, now: float, expires: float
) -> tuple[bool, Spent | None]:
    """End a job that is not done, or free the result of one that is.

    Returns: whether it was not done, and what it was charged, if it had not begun and that is to
    be given back.
    """
    charged = connection.execute(
        select(JOBS.c.charged).where(JOBS.c.seq == job.seq, JOBS.c.state == "queued")
    ).scalar()
    ended = connection.execute(
        update(JOBS)
        .where(JOBS.c.seq == job.seq, JOBS.c.state.in_(OPEN))
        .values(state="cancelled", finished=now, expires=expires)
    )
    if ended.rowcount:
        connection.execute(delete(WINDOWS).where(WINDOWS.c.job == job.seq))
        return True, _unpack_spent(charged)
    connection.execute(
        update(JOBS)
        .where(JOBS.c.seq == job.seq, JOBS.c.state == "succeeded")
        .values(state="expired", transcript=None, expires=expires)
    )
    return False, None


def spent_by(connection: Connection, seq: int) -> Spent | None:
    """What a job was charged."""
    return _unpack_spent(
        connection.execute(select(JOBS.c.charged).where(JOBS.c.seq == seq)).scalar()
    )


def spent_by_open(connection: Connection) -> list[Spent]:
    """What the jobs that are not done were charged."""
    query = select(JOBS.c.charged).where(JOBS.c.state.in_(OPEN), JOBS.c.charged.is_not(None))
    return [spent for row in connection.execute(query).scalars() if (spent := _unpack_spent(row))]


def expire(connection: Connection, now: float, forget_after: float) -> tuple[int, list[Spent]]:
    """Free results whose time is over, end jobs that never came to run, forget what is long gone.

    Returns: how many never ran, and what they were charged.
    """
    late = (JOBS.c.expires < now,)
    query = select(JOBS.c.charged).where(JOBS.c.state == "queued", *late)
    spent = [each for row in connection.execute(query).scalars() if (each := _unpack_spent(row))]
    connection.execute(delete(JOBS).where(JOBS.c.state.in_(("failed", "cancelled")), *late))
    connection.execute(delete(JOBS).where(JOBS.c.state == "expired", *late))
    never = connection.execute(
        update(JOBS)
        .where(JOBS.c.state == "queued", *late)
        .values(state="expired", finished=now, expires=now + forget_after)
    )
    connection.execute(
        update(JOBS)
        .where(JOBS.c.state == "succeeded", *late)
        .values(state="expired", transcript=None, expires=now + forget_after)
    )
    return never.rowcount, spent


def without_audio(connection: Connection, ids: Collection[str]) -> set[str]:
    """Those of these jobs that need no audio any more, or are not there."""
    kept = connection.execute(
        select(JOBS.c.id).where(JOBS.c.id.in_(ids), JOBS.c.state.in_(OPEN))
    ).scalars()
    return set(ids) - set(kept)


def _job(row: Row[*tuple[Any, ...]]) -> Job:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented name
    fault = values.pop("error")
    return Job(**values, error=Fault(**json.loads(fault)) if fault else None)


def _pack_spent(spent: Spent | None) -> str | None:
    return None if spent is None else json.dumps(asdict(spent))


def _unpack_spent(charged: str | None) -> Spent | None:
    if charged is None:
        return None
    value = json.loads(charged)
    return Spent(value["seconds"], tuple(Counter(**each) for each in value["counters"]))
