"""25 MB that hold 48 hours: what refusing them takes."""

import os
import threading
from pathlib import Path

from flac_silence import flac_silence
from server_process import Start, noise

URL = "/v1/audio/transcriptions"
SECONDS, MEMORY_BYTES = 5.0, 500 << 20


def children(pid: int) -> list[int]:
    """The processes that a process has started; none if it is gone."""
    try:
        tasks = [*Path(f"/proc/{pid}/task").iterdir()]
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def resident(pid: int) -> int:
    """Bytes that a process and all below it hold; pages that they share count for each."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        own = int(status.partition("VmRSS:")[2].split()[0]) << 10
    except (FileNotFoundError, ProcessLookupError, IndexError):
        own = 0  # it has just ended
    return own + sum(map(resident, children(pid)))


def computed(pid: int) -> float:
    """Processor seconds of a process, of those below it, and of those that have ended there."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return own + sum(map(computed, children(pid)))


def test_two_days_of_silence_are_refused(start: Start) -> None:
    """In 5 s of one processor and 500 MB, server and decoder together.

    Processor seconds, for other tests may run beside this one; nothing here waits.
    """
    bomb = flac_silence(48)
    assert 25_000_000 < len(bomb) < 25_200_000
    server = start().ready()
    most, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            most[0] = max(most[0], resident(server.popen.pid))

    watch = threading.Thread(target=look)
    with server.client() as client:
        client.post(URL, files={"file": ("a.wav", noise(1.0))}, data={"language": "pt"})
        watch.start()
        before = computed(server.popen.pid)
        answer = client.post(URL, files={"file": ("a.flac", bomb)})
        took = computed(server.popen.pid) - before
        over.set()
        watch.join()

    assert (400, "audio_too_long") == (answer.status_code, answer.json()["error"]["code"])
    assert 0.1 < took < SECONDS
    assert most[0] < MEMORY_BYTES


def test_the_silence_is_one(start: Start) -> None:
    """The same file for a minute is taken as what it says it is."""
    with start().ready().client() as client:
        data = {"response_format": "verbose_json", "language": "pt"}
        answer = client.post(URL, files={"file": ("a.flac", flac_silence(1 / 60))}, data=data)

    assert (200, 60) == (answer.status_code, round(answer.json()["duration"]))
