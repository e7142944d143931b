"""What a queue of 10 000 jobs costs, and what a job costs beside an answer at once.

`PYTHONPATH=.:tests:tests/e2e:tests/jobs python tests/jobs/cost.py [CLIP]...`
Prints claims in milliseconds, a server's memory before and after it has worked off 2000 jobs among
10 000 others, and for each clip the seconds of both ways with the real model, in turns.
"""

import statistics
import sys
import tempfile
import time
import uuid
from functools import partial
from pathlib import Path

import httpx
from new_jobs import ASKED, new_job
from postgres_server import PostgresServer
from server_process import FAKE, Process, Start, launcher, noise
from tables import Tables

from server.jobs import queue, table
from server.jobs.record import pack_asked
from server.jobs.schema import JOBS

ROUNDS = 7
ROOT = Path(__file__).parents[2]


def fill(tables: Tables, count: int, model: str) -> None:
    """Queued jobs of fifty callers."""
    for number in range(50):
        new = new_job(f"caller{number}", 60.0, model=model)
        tables.do(partial(table.add, new=new))
    common = {"state": "queued", "task": "transcribe", "model": model, "audio_s": 60.0}
    common |= {"request": pack_asked(ASKED), "created": 0.0, "expires": 1e11}
    rows = [
        {"id": f"job_{uuid.uuid4().hex}", "owner": f"caller{number % 50}", **common}
        for number in range(count - 50)
    ]
    tables.do(lambda connection: connection.execute(JOBS.insert(), rows))


def claims(url: str) -> str:
    """Median and slowest of 200."""
    with tempfile.TemporaryDirectory() as folder:
        tables = Tables(Path(folder), url)
        fill(tables, 10_000, "base")
        times = []
        for _ in range(200):
            started = time.perf_counter()
            work = partial(queue.claim, models=("base",), token=uuid.uuid4().hex)
            assert tables.do(partial(work, now=0.0, lease_until=9e9)) is not None
            times.append(1000 * (time.perf_counter() - started))
        tables.close()
    return f"{statistics.median(times):.2f} | {max(times):.1f}"


def memory_mb(server: Process) -> float:
    """Resident memory."""
    status = Path(f"/proc/{server.popen.pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def until_done(client: httpx.Client, path: str) -> None:
    """Look every 10 ms."""
    while (state := client.get(path).json()["status"]) != "succeeded":
        assert state in ("queued", "running"), state
        time.sleep(0.01)


def memory(start: Start) -> str:
    """Empty; with 10 000 that it has no model for; after 500 and 2000 more jobs."""
    with tempfile.TemporaryDirectory() as folder:
        server = start(FAKE, SUSSURRO_JOBS_DIR=folder, SUSSURRO_MAX_QUEUED_JOBS="20000").ready()
        found = [memory_mb(server)]
        tables = Tables(Path(folder), "")
        fill(tables, 10_000, "another")
        audio, form = {"file": ("n.wav", noise(1.0))}, {"language": "pt", "background": "true"}
        with server.client() as client:
            client.get("/v1/jobs")
            found.append(memory_mb(server))
            for count in (500, 1500):
                for _ in range(count):
                    path = client.post("/v1/audio/transcriptions", files=audio, data=form).headers[
                        "location"
                    ]
                until_done(client, path)
                found.append(memory_mb(server))
        tables.close()
    return ", ".join(f"{each:.0f}" for each in found)


def both_ways(server: Process, client: httpx.Client, clip: Path) -> str:
    """Seconds at once and as a job, medians of turns.

    Whether it is done is seen in the log: each question to the server would take time from the
    engine, which has as many workers as there are cores.
    """
    at_once, as_job = [], []
    for _ in range(ROUNDS):
        files = {"file": ("clip", clip.read_bytes())}
        started = time.perf_counter()
        told = client.post("/v1/audio/transcriptions", files=files).json()["text"]
        at_once.append(time.perf_counter() - started)
        ended = len(server.lines("job"))
        started = time.perf_counter()
        answer = client.post("/v1/audio/transcriptions", files=files, data={"background": "true"})
        path = answer.headers["location"]
        while len(server.lines("job")) == ended:
            time.sleep(0.01)
        assert told == client.get(path + "/transcript").json()["text"]
        as_job.append(time.perf_counter() - started)
    first, second = statistics.median(at_once), statistics.median(as_job)
    return f"{clip.name} | {first:.3f} | {second:.3f} | {1000 * (second - first):.0f} ms"


def main() -> None:
    """All of it."""
    print(f"claim, SQLite, median and slowest ms: {claims('')}")  # noqa: T201
    postgres = PostgresServer()
    postgres.start()
    try:
        print(f"claim, PostgreSQL: {claims(postgres.url())}")  # noqa: T201
    finally:
        postgres.remove()
    clips = [Path(name) for name in sys.argv[1:]] or [
        ROOT / "tests" / "audio" / name for name in ("en-river.ogg", "en-long.ogg")
    ]
    with tempfile.TemporaryDirectory() as folder, launcher(Path(folder)) as start:
        print(f"memory MB: {memory(start)}")  # noqa: T201
        jobs = tempfile.mkdtemp(dir=folder)
        server = start("-m", "server", SUSSURRO_JOBS_DIR=jobs, HOME=str(Path.home())).ready()
        with server.client() as client:
            for clip in clips:
                print(both_ways(server, client, clip))  # noqa: T201


if __name__ == "__main__":
    main()
