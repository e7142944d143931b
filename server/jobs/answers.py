"""What is asked of the table of answers: requests by their Idempotency-Key, and what came of them.

Knows: SQL, in the transaction that it is given.
Must not know: which database it is, HTTP, who waits.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, select, text, update

from server.access.allowances import Spent
from server.access.counters import Counter
from server.jobs.schema import ANSWERS
from server.jobs.turn import Answer, Held, Repeatable

_NEW = text(
    "INSERT INTO answers (owner, key, id, fingerprint, claim, lease_until, expires) VALUES "
    "(:owner, :key, :id, :fingerprint, :claim, :lease_until, :expires) ON CONFLICT DO NOTHING"
)
"""Both databases understand it; of two that come at once the second one waits for the first."""


@dataclass(frozen=True, slots=True)
class Differs:
    """The key was used for another request."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Somebody works on it."""


def take(
    connection: Connection, new: Held, now: float, lease_until: float, expires: float
) -> Held | Differs | Busy | Answer:
    """Begin, unless the key was used before; a try whose lease is over may be begun again."""
    request = new.request
    mine = _mine(request)
    gone = (ANSWERS.c.expires < now, ANSWERS.c.lease_until < now)
    connection.execute(delete(ANSWERS).where(*mine, *gone))
    values = asdict(request) | {"id": new.id, "claim": new.claim}
    values |= {"lease_until": lease_until, "expires": expires}
    if connection.execute(_NEW, values).rowcount:
        return new
    found = connection.execute(select(ANSWERS).where(*mine).with_for_update()).one()
    if found.fingerprint != request.fingerprint:
        return Differs()
    if found.content is not None or found.job is not None:
        return _answer(found)
    if found.lease_until >= now:
        return Busy()
    values = {"claim": new.claim, "lease_until": lease_until, "expires": expires}
    connection.execute(update(ANSWERS).where(*mine).values(**values))
    spent = json.loads(found.charged) if found.charged else None
    return Held(request, found.id, new.claim, spent and _spent(spent))


def renew(connection: Connection, held: Held, lease_until: float) -> None:
    """Go on holding it."""
    connection.execute(update(ANSWERS).where(*_held(held)).values(lease_until=lease_until))


def charge(connection: Connection, held: Held, spent: Spent) -> None:
    """A later try need not pay again."""
    charged = json.dumps(asdict(spent))
    connection.execute(update(ANSWERS).where(*_held(held)).values(charged=charged))


def finish(connection: Connection, held: Held, answer: Answer, expires: float) -> bool:
    """Keep what came of it; whether it was still held."""
    values = asdict(answer) | {"expires": expires, "lease_until": 0.0}
    done = connection.execute(update(ANSWERS).where(*_held(held)).values(**values))
    return bool(done.rowcount)


def let_go(connection: Connection, held: Held, *, keep_charge: bool) -> None:
    """Nothing came of it: another try may begin at once, without paying if this one paid."""
    if keep_charge:
        connection.execute(update(ANSWERS).where(*_held(held)).values(lease_until=0.0))
    else:
        connection.execute(delete(ANSWERS).where(*_held(held)))


def forget(connection: Connection, now: float) -> None:
    """Free what is over."""
    over = (ANSWERS.c.expires < now, ANSWERS.c.lease_until < now)
    connection.execute(delete(ANSWERS).where(*over))


def _mine(request: Repeatable) -> tuple[Any, ...]:
    return (ANSWERS.c.owner == request.owner, ANSWERS.c.key == request.key)


def _held(held: Held) -> tuple[Any, ...]:
    return (*_mine(held.request), *_open(held.claim))


def _open(claim: str) -> tuple[Any, ...]:
    none_yet = (ANSWERS.c.content.is_(None), ANSWERS.c.job.is_(None))
    return (ANSWERS.c.claim == claim, *none_yet)


def _answer(row: Row[*tuple[Any, ...]]) -> Answer:
    return Answer(row.content, row.content_type, row.warnings, row.job)


def _spent(value: dict[str, Any]) -> Spent:
    return Spent(value["seconds"], tuple(Counter(**each) for each in value["counters"]))
