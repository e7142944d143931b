"""Claims: each job to one worker at a time, callers in turn, nothing lost with a worker."""

import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from new_jobs import ASKED, new_job
from tables import Tables

from server.jobs import queue, table
from server.jobs.queue import End, Lease
from server.jobs.record import Claimed, WindowDone, pack_asked
from server.jobs.schema import JOBS
from server.kept import Plan, SpanState
from server.types import Dropped, Segment, SpeechSegment, TextToken, TranscriptionStats, Word


def put(tables: Tables, owner: str = "a", audio_s: float = 60.0, **values: object) -> str:
    """A queued job; its id."""
    new = new_job(owner, audio_s, **values)
    tables.do(partial(table.add, new=new))
    return new.id


def take(tables: Tables, now: float = 0.0, lease: float = 10.0) -> Claimed | None:
    """What a worker would get."""
    claim = partial(queue.claim, models=("base", "small"), token=uuid.uuid4().hex)
    return tables.do(partial(claim, now=now, lease_until=now + lease))


def test_a_claimed_job_is_what_was_asked(tables: Tables) -> None:
    """Options, model, owner and length."""
    job_id = put(tables, "n8n", 12.5)
    claimed = take(tables)

    assert claimed is not None
    assert (job_id, "n8n", "base", 12.5, 1) == (
        claimed.id,
        claimed.owner,
        claimed.model,
        claimed.audio_s,
        claimed.attempts,
    )
    assert ASKED == claimed.asked
    assert None is take(tables)


def test_callers_take_turns_by_seconds_of_audio(tables: Tables) -> None:
    """Who has many jobs does not keep back who has few; who comes later has no credit."""
    for _ in range(4):
        put(tables, "many", 100.0)
    first = [take(tables), take(tables)]
    put(tables, "few", 100.0)
    put(tables, "few", 100.0)
    rest = [take(tables) for _ in range(4)]

    assert ["many", "many"] == [each.owner for each in first if each]
    assert {"few": 2, "many": 2} == Counter(each.owner for each in rest if each)
    assert "few" in {each.owner for each in rest[:2] if each}


def test_a_model_that_is_not_here_waits_for_a_server_that_has_it(tables: Tables) -> None:
    """Others go past it."""
    put(tables, model="large-v3")
    mine = put(tables)

    assert mine == getattr(take(tables), "id", None)
    assert None is take(tables)


def test_a_job_whose_worker_is_silent_goes_to_another(tables: Tables) -> None:
    """Before all that were never begun; the first worker can change nothing any more."""
    lost = put(tables)
    first = take(tables, now=0.0)
    put(tables)
    assert first is not None
    old = Lease(first.seq, first.claim)
    assert {first.claim} == tables.do(partial(queue.renew, held=[old], until=20.0))

    other = take(tables, now=15.0)
    assert other is not None
    assert lost != other.id
    again = take(tables, now=20.5)
    assert again is not None
    assert (lost, 2) == (again.id, again.attempts)
    assert set() == tables.do(partial(queue.renew, held=[old], until=99.0))
    assert not tables.do(partial(queue.keep, lease=old, first=0, rows=[ROW], done_s=1.0))
    assert not tables.do(partial(queue.end, lease=old, how=End("failed", 0, 0)))
    assert tables.do(
        partial(queue.end, lease=Lease(again.seq, again.claim), how=End("succeeded", 30.0, 99.0))
    )


def test_a_worker_that_stops_hands_its_job_on_at_once(tables: Tables) -> None:
    """It counts as no attempt."""
    job_id = put(tables)
    first = take(tables, now=0.0)
    assert first is not None
    lease = Lease(first.seq, first.claim)
    tables.do(partial(queue.give_up, lease=lease, until=0.0, counts=False))
    again = take(tables, now=0.1)

    assert again is not None
    assert (job_id, 1) == (again.id, again.attempts)
    assert first.claim != again.claim


STATE = SpanState(
    ((SpeechSegment(10, 20), 0), (SpeechSegment(30, 40), 2)),
    (),
    (1, 2, 3),
    4.5,
    6.5,
    TranscriptionStats(windows=2, compute_s=0.25),
    (Dropped(1.0, 2.0, "no_voice"),),
    {"pt": 3.25},
)
SEGMENT = Segment(
    0,
    100,
    1.0,
    2.0,
    " Olá",
    (5, 6),
    0.2,
    -0.3333333333333333,
    1.1,
    0.01,
    (Word(1.0, 2.0, " Olá", 0.9),),
    (TextToken(b"\xc3", 0.5), TextToken(b"\xa1", 0.25)),
)
ROW = WindowDone(None, 3, (SEGMENT,), STATE)


def test_windows_come_back_as_they_were_kept(tables: Tables) -> None:
    """Half characters, fractions and counts included; a job that is done has none left."""
    put(tables)
    claimed = take(tables)
    assert claimed is not None
    lease = Lease(claimed.seq, claimed.claim)
    plan = WindowDone(plan=Plan("pt", (SpeechSegment(0, 50),)))
    assert tables.do(partial(queue.keep, lease=lease, first=0, rows=[plan, ROW], done_s=6.5))
    assert tables.do(partial(queue.keep, lease=lease, first=2, rows=[ROW], done_s=9.0))

    assert [plan, ROW, ROW] == tables.do(partial(queue.windows_of, seq=claimed.seq))
    assert tables.do(partial(queue.end, lease=lease, how=End("succeeded", 1.0, 2.0)))
    assert [] == tables.do(partial(queue.windows_of, seq=claimed.seq))


def test_many_workers_take_each_job_once(tables: Tables) -> None:
    """Eight at a time, from three servers' connections."""
    expected = {put(tables, owner) for owner in "abc" for _ in range(20)}
    servers = [tables.other() for _ in range(3)]
    start = threading.Barrier(8)

    def work(number: int) -> list[str]:
        start.wait()
        got = []
        claim = partial(queue.claim, now=0.0, lease_until=99.0, models=("base",))
        misses = 0
        while misses < 3:  # others may hold all that it looks at
            claimed = servers[number % 3]._run(partial(claim, token=uuid.uuid4().hex))
            misses = misses + 1 if claimed is None else 0
            if claimed is not None:
                got.append(claimed.id)
        return got

    with ThreadPoolExecutor(8) as pool:
        taken = [job_id for got in pool.map(work, range(8)) for job_id in got]
    for server in servers:
        server._threads.shutdown()
        server._engine.dispose()

    assert len(expected) == len(taken)
    assert expected == set(taken)


def fill(tables: Tables, count: int, state: str) -> None:
    """Put many rows in at once, of fifty callers."""
    rows = [
        {
            "id": f"{state}{number}",
            "owner": f"caller{number % 50}",
            "state": state,
            "task": "transcribe",
            "model": "base",
            "request": pack_asked(ASKED),
            "audio_s": 60.0,
            "created": 0.0,
            "expires": 1e9,
        }
        for number in range(count)
    ]
    tables.do(lambda connection: connection.execute(JOBS.insert(), rows))


def test_a_claim_among_ten_thousand_is_quick(tables: Tables) -> None:
    """Little longer than one among fifty, and under 10 ms: the quickest, for others are busy."""

    def quickest() -> float:
        found = []
        for _ in range(40):
            started = time.perf_counter()
            assert take(tables) is not None
            found.append(time.perf_counter() - started)
        return min(found)

    for number in range(50):
        put(tables, f"caller{number}")
    few = quickest()
    fill(tables, 10_000, "queued")
    fill(tables, 5_000, "expired")
    many = quickest()

    assert many < 3 * few
    assert many < 0.01
