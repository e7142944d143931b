"""Webhooks in the table: taken with a job, made ready by its end, claimed, sent, or dead.

Knows: SQL, in the transaction that it is given; which ends of a job are told.
Must not know: which database it is, connections, signatures.

A job's end and what is to be told of it are one transaction, so neither is there without the other.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import uuid4

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from server.access.allowances import Spent
from server.jobs import queue, table
from server.jobs.record import Job, Outbox
from server.jobs.schema import JOBS, WEBHOOKS
from server.jobs.shown import body_of
from server.texts import Language
from server.webhooks.events import event_of

Found: TypeAlias = Row[*tuple[Any, ...]]

MOST_TEXT = 1_000_000
"""Characters of a text that is told; a longer one, 15 hours of speech, has to be fetched."""

KEPT_SECONDS = {"delivered": 7 * 86_400.0, "dead": 30 * 86_400.0}
"""After which a webhook is forgotten."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a job's end is to be told, and in which language."""

    url: str
    host: str
    language: Language


@dataclass(frozen=True, slots=True)
class Due:
    """A webhook that a server has for a while; nobody else sends it under this `claim`."""

    seq: int
    id: str
    job_id: str
    owner: str
    url: str
    host: str
    body: bytes
    attempts: int
    claim: str


def add(connection: Connection, job: Job, to: Destination) -> None:
    """What is to be told of a job when it ends."""
    connection.execute(
        insert(WEBHOOKS).values(
            id=f"msg_{uuid4().hex}",
            job=job.seq,
            job_id=job.id,
            owner=job.owner,
            url=to.url,
            host=to.host,
            language=to.language,
            state="waiting",
            created=job.created,
        )
    )


def end(connection: Connection, lease: queue.Lease, how: queue.End, text: str | None) -> bool:
    """`queue.end`, and what is told of it: with the text, if it has one."""
    done = queue.end(connection, lease, how)
    if done:
        _make_ready(connection, table.by_seq(connection, lease.seq), how.finished, text)
    return done


def cancel(
    connection: Connection, job: Job, now: float, expires: float
) -> tuple[bool, Spent | None]:
    """`table.cancel`, and what is told of it."""
    ended, spent = table.cancel(connection, job, now, expires)
    if ended:
        _make_ready(connection, table.by_seq(connection, job.seq), now, None)
    return ended, spent


def expire(connection: Connection, now: float, forget_after: float) -> tuple[int, list[Spent]]:
    """`table.expire`, and what is told of the jobs that never ran."""
    late = (JOBS.c.state == "queued", JOBS.c.expires < now)
    waits = select(JOBS.c.seq).join(WEBHOOKS, WEBHOOKS.c.job == JOBS.c.seq).where(*late)
    seqs = connection.execute(waits).scalars().all()
    expired = table.expire(connection, now, forget_after)
    for seq in seqs:
        _make_ready(connection, table.by_seq(connection, seq), now, None)
    for state, kept_s in KEPT_SECONDS.items():
        over = (WEBHOOKS.c.state == state, WEBHOOKS.c.due < now - kept_s)
        connection.execute(delete(WEBHOOKS).where(*over))
    return expired


def _make_ready(connection: Connection, job: Job, now: float, text: str | None) -> None:
    mine = (WEBHOOKS.c.job == job.seq, WEBHOOKS.c.state == "waiting")
    language = connection.execute(select(WEBHOOKS.c.language).where(*mine)).scalar()
    if language is None:
        return
    if text is not None and len(text) > MOST_TEXT:
        text = None
    body = event_of(body_of(job, {}, language), now, text)
    values = {"state": "pending", "body": body, "created": now, "due": now}
    connection.execute(update(WEBHOOKS).where(*mine).values(**values))


def claim(
    connection: Connection, now: float, until: float, token: str, busy: Collection[str]
) -> Due | None:
    """Take the one that has been due for longest, of those whose receiver is not `busy`."""
    due = (WEBHOOKS.c.state == "pending", WEBHOOKS.c.due <= now)
    query = select(WEBHOOKS).where(*due, WEBHOOKS.c.host.not_in(busy)).order_by(WEBHOOKS.c.due)
    found = connection.execute(query.limit(1).with_for_update(skip_locked=True)).first()
    if found is None:
        return None
    attempts = found.attempts + 1
    values = {"claim": token, "due": until, "attempts": attempts}
    connection.execute(update(WEBHOOKS).where(WEBHOOKS.c.seq == found.seq).values(**values))
    return Due(
        found.seq,
        found.id,
        found.job_id,
        found.owner,
        found.url,
        found.host,
        found.body,
        attempts,
        token,
    )


def settle(connection: Connection, one: Due, state: str, due: float, outcome: str) -> None:
    """What came of a try; nothing if another server has it by now."""
    mine = (WEBHOOKS.c.seq == one.seq, WEBHOOKS.c.claim == one.claim)
    values = {"state": state, "due": due, "outcome": outcome, "claim": ""}
    connection.execute(update(WEBHOOKS).where(*mine).values(**values))


def let_go(connection: Connection, one: Due, now: float) -> None:
    """The server stops: another one may send it at once, which is no try of this one."""
    mine = (WEBHOOKS.c.seq == one.seq, WEBHOOKS.c.claim == one.claim)
    values = {"due": now, "attempts": one.attempts - 1, "claim": ""}
    connection.execute(update(WEBHOOKS).where(*mine).values(**values))


def figures(connection: Connection, now: float) -> Outbox:
    """What is not delivered."""
    query = select(WEBHOOKS.c.state, func.count(), func.min(WEBHOOKS.c.created))
    open_ones = query.where(WEBHOOKS.c.state.in_(("pending", "dead"))).group_by(WEBHOOKS.c.state)
    found = {state: (count, oldest) for state, count, oldest in connection.execute(open_ones)}
    pending, oldest = found.get("pending", (0, now))
    dead, _ = found.get("dead", (0, now))
    return Outbox(pending, dead, max(now - oldest, 0.0))


def listed(connection: Connection, states: Collection[str], limit: int) -> Sequence[Found]:
    """Webhooks for the operator, newest first, without what they say."""
    shown = [column for column in WEBHOOKS.c if column.name not in ("body", "claim")]
    query = select(*shown).where(WEBHOOKS.c.state.in_(states)).order_by(WEBHOOKS.c.seq.desc())
    return connection.execute(query.limit(limit)).all()


def resend(connection: Connection, ids: Collection[str] | None, now: float) -> int:
    """Have dead ones, or delivered ones that are named, tried again from the start; how many."""
    ended = (
        WEBHOOKS.c.state == "dead" if ids is None else WEBHOOKS.c.state.in_(("dead", "delivered"))
    )
    which = (ended,) if ids is None else (ended, WEBHOOKS.c.id.in_(ids))
    values = {"state": "pending", "due": now, "created": now, "attempts": 0}
    return connection.execute(update(WEBHOOKS).where(*which).values(**values)).rowcount
