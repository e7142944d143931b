"""Webhooks in the table, on both databases: with the job's end or not at all."""

import json
import uuid
from collections.abc import Collection
from functools import partial

import pytest
from new_jobs import new_job
from sqlalchemy import Connection
from tables import Tables

from server.jobs import outbox, queue, table
from server.jobs.outbox import Destination, Due
from server.jobs.queue import End, Lease
from server.jobs.record import Job

TO = Destination("https://a.example/hook", "a.example", "pt")


def put(tables: Tables, to: Destination | None = TO, **values: object) -> Job:
    """A job whose end is told."""
    new = new_job("n8n", **values)

    def work(connection: Connection) -> Job:
        job = table.add(connection, new)
        if to is not None:
            outbox.add(connection, job, to)
        return job

    return tables.do(work)


def taken(tables: Tables) -> Lease:
    """The next job, held."""
    claim = partial(queue.claim, models=("base",), token=uuid.uuid4().hex)
    found = tables.do(partial(claim, now=0.0, lease_until=10.0))
    assert found is not None
    return Lease(found.seq, found.claim)


def due(tables: Tables, now: float, busy: Collection[str] = ()) -> Due | None:
    """What a server would send."""
    claim = partial(outbox.claim, token=uuid.uuid4().hex, busy=busy)
    return tables.do(partial(claim, now=now, until=now + 60))


def told(one: Due | None) -> tuple[str, str | None]:
    """Type and text of an event."""
    assert one is not None
    event = json.loads(one.body)
    assert one.job_id == event["data"]["id"]
    return event["type"], event["data"]["text"]


def test_an_end_is_told_once(tables: Tables) -> None:
    """Not before it; with the text; never of a job that nobody wants to hear of."""
    put(tables)
    put(tables, None)
    assert None is due(tables, 5.0)
    for _ in range(2):
        how = End("succeeded", 5.0, 99.0, b"x")
        assert tables.do(partial(outbox.end, lease=taken(tables), how=how, text="Olá."))
    first = due(tables, 5.0)

    assert ("job.succeeded", "Olá.") == told(first)
    assert first is not None
    assert (TO.url, "n8n", 1) == (first.url, first.owner, first.attempts)
    assert None is due(tables, 6.0)


def test_a_worker_that_lost_its_job_tells_nothing(tables: Tables) -> None:
    """Another one will."""
    put(tables)
    lease = taken(tables)
    other = Lease(lease.seq, "other")
    how = End("succeeded", 5.0, 99.0, b"x")
    assert not tables.do(partial(outbox.end, lease=other, how=how, text="no"))
    assert None is due(tables, 9.0)


def test_every_end_is_told(tables: Tables) -> None:
    """Failed, with its error in the language of the request; cancelled; expired."""
    put(tables)
    error = json.dumps({"code": "engine_error", "en": "It failed.", "pt": "Falhou."})
    how = End("failed", 1.0, 99.0, error=error)
    tables.do(partial(outbox.end, lease=taken(tables), how=how, text=None))
    cancelled = put(tables)
    tables.do(partial(outbox.cancel, job=cancelled, now=2.0, expires=99.0))
    put(tables, expires=3.0)
    tables.do(partial(outbox.expire, now=4.0, forget_after=9.0))
    found = [due(tables, 5.0) for _ in range(3)]

    kinds = ["job.failed", "job.cancelled", "job.expired"]
    assert [(kind, None) for kind in kinds] == [told(each) for each in found]
    assert found[0] is not None
    assert "Falhou." == json.loads(found[0].body)["data"]["error"]["message"]


def test_a_cancelled_end_is_not_told_twice(tables: Tables) -> None:
    """Nor that a result was deleted."""
    job = put(tables)
    for _ in range(2):
        tables.do(partial(outbox.cancel, job=job, now=2.0, expires=99.0))
    assert None is not due(tables, 3.0)
    assert None is due(tables, 3.0)


def end_one(tables: Tables, host: str = "a.example") -> None:
    """A job that has ended."""
    put(tables, Destination(f"https://{host}/", host, "en"))
    how = End("succeeded", 1.0, 99.0, b"x")
    tables.do(partial(outbox.end, lease=taken(tables), how=how, text="t"))


def test_a_dead_servers_webhook_is_anothers_under_the_same_id(tables: Tables) -> None:
    """After the lease; what the dead one says later counts for nothing."""
    end_one(tables)
    first = due(tables, 2.0)
    assert None is due(tables, 61.0)
    second = due(tables, 62.0)

    assert first is not None
    assert second is not None
    assert (first.id, first.body, 2) == (second.id, second.body, second.attempts)
    tables.do(partial(outbox.settle, one=first, state="delivered", due=63.0, outcome="200"))
    assert 1 == tables.do(partial(outbox.figures, now=63.0)).pending
    tables.do(partial(outbox.settle, one=second, state="delivered", due=63.0, outcome="200"))
    assert 0 == tables.do(partial(outbox.figures, now=63.0)).pending


def test_a_server_that_stops_gives_it_back(tables: Tables) -> None:
    """At once, and as no try."""
    end_one(tables)
    first = due(tables, 2.0)
    assert first is not None
    tables.do(partial(outbox.let_go, one=first, now=2.5))
    second = due(tables, 2.5)
    assert second is not None
    assert 1 == second.attempts


def test_a_busy_receiver_holds_nobody_up(tables: Tables) -> None:
    """The next one's webhook goes first."""
    end_one(tables, "slow.example")
    end_one(tables, "fast.example")
    found = due(tables, 2.0, busy=["slow.example"])
    assert found is not None
    assert "fast.example" == found.host
    assert None is due(tables, 2.0, busy=["slow.example"])


def test_the_dead_are_listed_and_sent_again(tables: Tables) -> None:
    """By their ids or all; not what is still tried."""
    for _ in range(3):
        end_one(tables)
    for _ in range(2):
        one = due(tables, 2.0)
        assert one is not None
        tables.do(partial(outbox.settle, one=one, state="dead", due=3.0, outcome="500"))
    figures = tables.do(partial(outbox.figures, now=11.0))
    assert (1, 2, 10.0) == (figures.pending, figures.dead, figures.oldest_s)

    newest, oldest = tables.do(partial(outbox.listed, states=("dead",), limit=9))
    assert ("500", "dead", newest.seq > oldest.seq) == (newest.outcome, newest.state, True)
    assert 1 == tables.do(partial(outbox.resend, ids=[oldest.id], now=20.0))
    assert 1 == tables.do(partial(outbox.resend, ids=None, now=20.0))
    assert 0 == tables.do(partial(outbox.resend, ids=None, now=20.0))
    assert 0 == tables.do(partial(outbox.resend, ids=["msg_x"], now=20.0))
    again = [due(tables, 20.0) for _ in range(3)]
    assert [1, 1, 1] == [each.attempts for each in again if each]


@pytest.mark.parametrize(("state", "kept_days"), [("delivered", 7), ("dead", 30)])
def test_what_is_over_is_forgotten(tables: Tables, state: str, kept_days: int) -> None:
    """After its time."""
    end_one(tables)
    one = due(tables, 2.0)
    assert one is not None
    tables.do(partial(outbox.settle, one=one, state=state, due=3.0, outcome=""))
    for later, left in ((-1, 1), (1, 0)):
        now = 3.0 + kept_days * 86_400 + later
        tables.do(partial(outbox.expire, now=now, forget_after=9.0))
        assert left == len(tables.do(partial(outbox.listed, states=(state,), limit=9)))
