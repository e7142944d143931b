"""What callers and the sweep see: their own jobs, places, cancelling, expiry, versions."""

import uuid
from functools import partial
from pathlib import Path

import pytest
from new_jobs import SPENT, new_job
from sqlalchemy import update
from tables import Tables

from server.jobs import queue, table
from server.jobs.database import Database, DatabaseError
from server.jobs.queue import End, Lease
from server.jobs.record import Claimed, Job
from server.jobs.schema import STEPS, VERSION, migrate

LATER = 1_000.0


def put(tables: Tables, owner: str = "a", audio_s: float = 60.0, **values: object) -> Job:
    """A queued job."""
    return tables.do(partial(table.add, new=new_job(owner, audio_s, **values)))


def take(tables: Tables) -> Claimed:
    """The next one."""
    claim = partial(queue.claim, models=("base",), token=uuid.uuid4().hex)
    claimed = tables.do(partial(claim, now=0.0, lease_until=10.0))
    assert claimed is not None
    return claimed


def finish(tables: Tables, claimed: Claimed, expires: float) -> None:
    """With a transcript."""
    how = End("succeeded", 1.0, expires, transcript=b"packed")
    assert tables.do(partial(queue.end, lease=Lease(claimed.seq, claimed.claim), how=how))


def find(tables: Tables, job: Job, owner: str = "a") -> Job | None:
    """As it is now."""
    return tables.do(partial(table.find, job_id=job.id, owner=owner))


def test_another_callers_job_is_not_there(tables: Tables) -> None:
    """Nor in a list."""
    mine, other = put(tables, "a"), put(tables, "b")

    assert mine == find(tables, mine)
    assert None is find(tables, other)
    assert [mine] == tables.do(partial(table.page, owner="a", after=None, limit=9))
    assert None is tables.do(partial(table.page, owner="a", after=other.id, limit=9))


def test_pages_go_from_new_to_old(tables: Tables) -> None:
    """Each after the last one of the page before."""
    jobs = [put(tables) for _ in range(5)][::-1]
    first = tables.do(partial(table.page, owner="a", after=None, limit=2))
    assert first is not None

    assert jobs[:2] == first
    assert jobs[2:4] == tables.do(partial(table.page, owner="a", after=first[-1].id, limit=2))
    assert [] == tables.do(partial(table.page, owner="a", after=jobs[-1].id, limit=2))


def test_a_place_counts_those_that_go_before(tables: Tables) -> None:
    """One's own earlier ones, as many of each other caller, and what runs."""
    for _ in range(5):
        put(tables, "b", 100.0)
    running = take(tables)
    mine = [put(tables, "a", 10.0), put(tables, "a", 20.0)]
    places = tables.do(partial(table.places, jobs=mine))
    lease = Lease(running.seq, running.claim)
    tables.do(partial(queue.keep, lease=lease, first=0, rows=[], done_s=70.0))
    closer = tables.do(partial(table.places, jobs=mine[:1]))

    assert [1, 3] == [places[job.seq].ahead for job in mine]
    assert [100 + 10 + 100, 100 + 30 + 200] == [places[job.seq].audio_s for job in mine]
    assert 30 + 10 + 100 == closer[mine[0].seq].audio_s


def test_a_job_that_had_not_begun_is_given_back(tables: Tables) -> None:
    """One that runs is not, and its worker finds it gone; nothing happens twice."""
    waiting, running = put(tables, "b", spent=SPENT), put(tables, "a", spent=SPENT)
    claimed = take(tables)
    cancel = partial(table.cancel, now=5.0, expires=LATER)
    assert running.id == claimed.id

    assert (True, SPENT) == tables.do(partial(cancel, job=waiting))
    assert (True, None) == tables.do(partial(cancel, job=running))
    assert (False, None) == tables.do(partial(cancel, job=waiting))
    assert set() == tables.do(
        partial(queue.renew, held=[Lease(claimed.seq, claimed.claim)], until=99.0)
    )
    found = find(tables, running)
    assert found is not None
    assert ("cancelled", 5.0) == (found.state, found.finished)


def test_deleting_a_job_that_is_done_frees_its_text(tables: Tables) -> None:
    """It says expired from then on."""
    job = put(tables)
    finish(tables, take(tables), LATER)
    assert b"packed" == tables.do(partial(table.transcript_of, seq=job.seq))[0]
    tables.do(partial(table.cancel, job=job, now=5.0, expires=LATER))

    assert None is tables.do(partial(table.transcript_of, seq=job.seq))[0]
    assert "expired" == getattr(find(tables, job), "state", None)


def test_what_is_over_expires_and_is_forgotten(tables: Tables) -> None:
    """Texts after their time, jobs that never began with what they cost, rows in the end."""
    done = put(tables)
    finish(tables, take(tables), expires=10.0)
    never, fresh = put(tables, expires=10.0, spent=SPENT), put(tables)
    sweep = partial(table.expire, forget_after=100.0)

    assert (0, []) == tables.do(partial(sweep, now=9.0))
    assert (1, [SPENT]) == tables.do(partial(sweep, now=11.0))
    assert ["expired", "expired", "queued"] == [
        getattr(find(tables, job), "state", None) for job in (done, never, fresh)
    ]
    assert None is tables.do(partial(table.transcript_of, seq=done.seq))[0]
    assert (0, []) == tables.do(partial(sweep, now=112.0))
    assert [None, None, fresh] == [find(tables, job) for job in (done, never, fresh)]


def test_what_waits_is_counted(tables: Tables) -> None:
    """Jobs, their audio, and how long the oldest has waited; those that run are not among them."""
    empty = tables.do(partial(table.queue_figures, now=100.0))
    put(tables, audio_s=10.0, created=1.0)
    put(tables, audio_s=20.0, created=40.0)
    put(tables, "b", audio_s=30.0, created=70.0)
    take(tables)
    found = tables.do(partial(table.queue_figures, now=100.0))

    assert (0, 0.0, 0.0) == (empty.queued, empty.audio_s, empty.oldest_s)
    assert (2, 50.0, 60.0) == (found.queued, found.audio_s, found.oldest_s)


def test_audio_is_needed_until_a_job_is_done(tables: Tables) -> None:
    """Also while it runs; not by one that is gone."""
    done = put(tables)
    finish(tables, take(tables), LATER)
    running, waiting = put(tables), put(tables)
    take(tables)
    ids = [done.id, running.id, waiting.id, "job_unknown"]

    assert {done.id, "job_unknown"} == tables.do(partial(table.without_audio, ids=ids))


def test_charges_of_what_is_not_done_are_taken_up(tables: Tables) -> None:
    """By the next process, which has no other way to know of them."""
    put(tables, spent=SPENT)
    put(tables)
    take(tables)

    assert [SPENT] == tables.do(table.spent_by_open)
    assert (2, 2, 120.0) == tables.do(partial(table.count_open, owner="a"))
    assert (2, 0, 120.0) == tables.do(partial(table.count_open, owner="b"))


def test_a_second_start_changes_nothing(tables: Tables) -> None:
    """The tables are as new as the server."""
    job = put(tables)
    tables.do(migrate)

    assert job == find(tables, job)


def test_tables_of_a_later_version_are_left_alone(tables: Tables) -> None:
    """The server refuses to start, and says why."""
    tables.do(lambda c: c.execute(update(VERSION).values(number=len(STEPS) + 1)))

    with pytest.raises(DatabaseError, match="later version"):
        Database(tables.folder, tables.url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://x", "postgresql://"),
        ("hunter2", "no address"),
        ("postgresql://x:hunter2@127.0.0.1:1/x", "cannot be opened"),
    ],
)
def test_a_wrong_address_is_told_without_repeating_it(tmp_path: Path, url: str, why: str) -> None:
    """It may hold a password."""
    with pytest.raises(DatabaseError, match=why) as caught:
        Database(tmp_path, url)

    assert "hunter2" not in str(caught.value)
