"""1000 jobs for three servers, each of which is replaced meanwhile: none lost, none twice, fair."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import log_lines
import pytest
from callers import ROUTE, Caller, asked_meanwhile, clips
from edge_of_three import SERVERS, Servers, states, traefik
from postgres_server import PostgresServer
from redis_server import RedisServer

GREEDY, MODEST = 600, 100
"""Jobs of the caller who comes first with many, and of each of the four others."""

QUOTA_MINUTES, QUOTA_JOBS = 1, 30
"""A recording of 1.5 s counts as 2 s (docs/limits.md)."""

WITHIN = 1_500.0


@dataclass
class Run:
    """All that came of it."""

    callers: list[Caller]
    capped: Caller
    phone: list[object]
    phone_text: str
    texts: dict[str, str]
    """By recording, asked for beforehand."""
    transcripts: dict[str, str]
    """By job."""
    states: dict[str, str]
    servers: Servers
    codes: list[int]
    used: dict[str, int]

    @property
    def jobs(self) -> dict[str, str]:
        """Whose each is."""
        every = [*self.callers, self.capped]
        return {job: caller.name for caller in every for job in caller.clip_of}

    @property
    def ended(self) -> list[dict[str, Any]]:
        """The log's lines of ended jobs, in order of time."""
        return sorted(self.servers.lines("job"), key=lambda line: str(line["time"]))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, weights_dir: Path) -> Iterator[Run]:
    """It takes some ten minutes on two cores."""
    folder = tmp_path_factory.mktemp("replicas")
    postgres, redis = PostgresServer(), RedisServer(folder)
    postgres.start()
    redis.start()
    callers = [Caller(name) for name in ("many", "ana", "bia", "caio", "davi")]
    capped = Caller("capped", f"audio_minutes_per_day={QUOTA_MINUTES}")
    phone = Caller("phone")
    records = " ".join(each.record for each in (*callers, capped, phone))
    environ = {
        "SUSSURRO_API_KEYS": records,
        "SUSSURRO_WEIGHTS_DIR": str(weights_dir),
        "SUSSURRO_CPU_WORKERS": "1",
        "SUSSURRO_ENCODER": "ctranslate2",
        "SUSSURRO_REDIS_URL": redis.url,
        "SUSSURRO_REPLICAS": str(SERVERS),
        "SUSSURRO_DATABASE_URL": postgres.url(),
        "SUSSURRO_JOBS_DIR": str(folder / "jobs"),
        "SUSSURRO_USAGE_DB": str(folder / "usage.sqlite3"),
        "SUSSURRO_DRAIN_GRACE": "5",
        "SUSSURRO_MAX_RUNNING_JOBS": "2",
    }
    servers = Servers(folder, environ)
    try:
        with traefik(folder, servers.urls) as url:
            yield played(url, servers, postgres, callers, capped, phone)
    finally:
        servers.close()
        redis.kill()
        postgres.remove()


def played(
    url: str,
    servers: Servers,
    postgres: PostgresServer,
    callers: list[Caller],
    capped: Caller,
    phone: Caller,
) -> Run:
    """All of it, in order."""
    recordings = clips()
    texts = {name: text(phone, url, audio) for name, audio in recordings.items()}
    first = next(iter(recordings))
    stop = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        waits = pool.submit(asked_meanwhile, phone, url, recordings[first], stop)
        started = time.monotonic()
        greedy, *modest = callers
        sent = [pool.submit(greedy.submit, url, recordings, GREEDY)]
        time.sleep(3)
        sent += [pool.submit(each.submit, url, recordings, MODEST) for each in modest]
        sent.append(pool.submit(capped.submit, url, recordings, QUOTA_JOBS + 15))
        for each in sent:
            each.result()
        print(f"\ntaken in {time.monotonic() - started:.0f} s", flush=True)
        codes = [servers.replace(number) for number in range(SERVERS)]
        until_ended(postgres)
        print(f"ended after {time.monotonic() - started:.0f} s", flush=True)
        stop.set()
        answers = waits.result()
    every = [*callers, capped]
    transcripts = {job: said for each in every for job, said in fetched(each, url).items()}
    used = {each.name: counted(each, url) for each in every}
    told(servers, len(transcripts))
    print("by server:", servers.by_server("job"), "phone:", Counter(map(type, answers)), flush=True)
    return Run(
        callers,
        capped,
        answers,
        texts[first],
        texts,
        transcripts,
        states(postgres),
        servers,
        codes,
        used,
    )


def text(caller: Caller, url: str, audio: bytes) -> str:
    """Of one recording, waited for."""
    with caller.client(url) as client:
        files, form = {"file": ("a.wav", audio)}, {"response_format": "text"}
        return client.post(ROUTE, files=files, data=form).raise_for_status().text


def until_ended(postgres: PostgresServer) -> None:
    """Wait until no job is queued or runs."""
    end = time.monotonic() + WITHIN
    while open_ := Counter(states(postgres).values()) & Counter(queued=10_000, running=10_000):
        assert time.monotonic() < end, open_
        time.sleep(1)


def fetched(caller: Caller, url: str) -> dict[str, str]:
    """The transcripts of its jobs."""
    with caller.client(url) as client:
        return {
            job: client.get(f"/v1/jobs/{job}/transcript?response_format=text").text
            for job in caller.clip_of
        }


def counted(caller: Caller, url: str) -> int:
    """Its transcriptions, by the servers' account."""
    with caller.client(url) as client:
        return sum(day["requests"] for day in client.get("/v1/usage").json()["data"])


def told(servers: Servers, count: int) -> None:
    """A job's line follows the end of it."""
    end = time.monotonic() + 10
    while len(servers.lines("job")) < count and time.monotonic() < end:
        time.sleep(0.1)


@pytest.mark.timeout(1_800)
def test_none_is_lost_and_none_is_done_twice(run: Run) -> None:
    """In the table, in the logs, in the account, under each Idempotency-Key."""
    jobs = run.jobs
    assert GREEDY + 4 * MODEST + QUOTA_JOBS == len(jobs)
    assert dict.fromkeys(jobs, "succeeded") == run.states
    assert Counter(list(jobs)) == Counter(line["job"] for line in run.ended)
    assert Counter(jobs.values()) == run.used
    assert all(len(same) == 1 for caller in run.callers for same in caller.twice)
    assert sum(len(caller.twice) for caller in run.callers) == (GREEDY + 4 * MODEST) // 10
    assert [] == [code for caller in run.callers for code in caller.refused]


def test_each_has_the_text_of_its_recording(run: Run) -> None:
    """As it was before, when nobody else asked."""
    clip_of = {
        job: clip for each in (*run.callers, run.capped) for job, clip in each.clip_of.items()
    }
    assert len(set(run.texts.values())) == len(run.texts)
    assert {job: run.texts[clip] for job, clip in clip_of.items()} == run.transcripts


def test_the_queue_is_fair(run: Run) -> None:
    """Who came first with 600 is no further than the others while those still wait."""
    order = [run.jobs[line["job"]] for line in run.ended]
    done: Counter[str] = Counter()
    for name in order:
        done[name] += 1
        if done[name] == MODEST and name != "many":
            break
    others = [done[name] for name in ("ana", "bia", "caio", "davi")]
    print("done when the first of the modest was through:", dict(done))
    assert min(others) >= 0.8 * MODEST
    assert done["many"] <= 1.6 * MODEST  # some of its jobs were done before the others came


def test_a_quota_is_one_for_all_servers(run: Run) -> None:
    """Exactly its minute is taken, whoever is asked; the rest is refused and costs nothing."""
    assert QUOTA_JOBS == len(run.capped.clip_of)
    assert len(run.capped.refused) >= 15
    assert {"insufficient_quota"} == set(run.capped.refused)


def test_all_take_part_and_replacing_them_loses_nothing(run: Run) -> None:
    """Also who waits for an answer and never asks twice gets each one."""
    assert [0] * SERVERS == run.codes
    assert 2 * SERVERS == len(run.servers.every)
    assert all(run.servers.by_server("job"))
    assert len(run.phone) > 20
    assert {run.phone_text} == set(run.phone)


def test_the_logs_are_as_described(run: Run) -> None:
    """And have no fault."""
    for process in run.servers.every:
        log_lines.check(process.stdout)
    assert [] == run.servers.lines("fault")
