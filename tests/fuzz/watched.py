"""A server process that is fuzzed over HTTP, and what it holds on to."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from exchange import End, exchange
from http_cases import Case, form, sized
from media_samples import sine, wav
from server_process import Process, launcher

SETTINGS = {
    "SUSSURRO_SANDBOX": "required",
    "SUSSURRO_MAX_AUDIO_SECONDS": "60",
    "SUSSURRO_MAX_UPLOAD_BYTES": "8000000",
    "SUSSURRO_MAX_SPOOL_BYTES": "64000000",
    "SUSSURRO_LOAD_TIMEOUT": "20",
    "SUSSURRO_HEADER_TIMEOUT": "1",
    "SUSSURRO_UPLOAD_IDLE_TIMEOUT": "1",
    "SUSSURRO_UPLOAD_TIMEOUT": "5",
    "SUSSURRO_DISCARD_TIMEOUT": "1",
    "SUSSURRO_DISCARD_BYTES": "8000000",
    "SUSSURRO_FAILURES_PER_MINUTE": "100000",
}
"""The sandbox as in production; limits so short that what hangs is seen, and so little room for
uploads that a few kilobytes a case which are not given back end in 503s."""

DEADLINE = 60.0
"""Seconds for one exchange, on a machine that does much else."""

CLIENTS = 4


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the server and its media process have open, and how much memory is theirs."""

    descriptors: int
    media_descriptors: int
    decoders: int
    spooled_files: int
    rss_mib: float
    media_rss_mib: float


@dataclass
class Watched:
    """A running server; `faults` are the cases that ended badly."""

    process: Process
    folder: Path
    ends: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")

    def send(self, cases: Iterable[Case]) -> None:
        """Have every case answered, some at once."""
        port = self.process.line("listening")["port"]
        with ThreadPoolExecutor(CLIENTS) as clients:
            for case, end in clients.map(lambda case: (case, self._one(port, case)), cases):
                self._note(case, end)

    def _one(self, port: int, case: Case) -> End:
        return exchange(port, case.pieces, deadline=DEADLINE)

    def _note(self, case: Case, end: End) -> None:
        self.ends[str(end.statuses[0]) if end.statuses else "closed"] += 1
        self.slowest = max(self.slowest, (round(end.seconds, 2), case.name))
        if fault := end.fault(silent=case.silent):
            sent = b"".join(case.pieces)
            self.faults.append(f"{case.name} ({len(sent)} bytes, {sent[:200]!r}): {fault}")

    def works(self) -> bool:
        """Whether an honest request is answered."""
        port = self.process.line("listening")["port"]
        return exchange(
            port, [sized(form(wav(sine(16_000, 0.5))))], deadline=DEADLINE
        ).statuses == [200]

    def reasons(self) -> Counter[str]:
        """Why files were refused, as the log has it."""
        lines = self.process.lines("request")
        return Counter(str(line["reason"]) for line in lines if line.get("reason"))

    def holdings(self, within: float = 15.0) -> Holdings:
        """What is held once nothing is under way any more."""
        end = time.monotonic() + within
        found = self._look()
        while time.monotonic() < end:
            time.sleep(0.5)
            before, found = found, self._look()
            if found.decoders == 0 and found.descriptors == before.descriptors:
                break
        return found

    def _look(self) -> Holdings:
        server = self.process.popen.pid
        (media,) = _children(server)
        own = {"stdout", "stderr", "engines"}
        return Holdings(
            _descriptors(server),
            _descriptors(media),
            len(_children(media)),
            len({path.name for path in self.folder.iterdir()} - own),
            _rss_mib(server),
            _rss_mib(media),
        )


def _children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def own_rss_mib() -> float:
    """Memory of this process."""
    return _rss_mib(os.getpid())


def _rss_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), 1)


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """The real server process and the real sandbox around an engine that says one sentence."""
    with launcher(folder) as launch:
        process = launch(**SETTINGS).ready()
        (own,) = folder.iterdir()
        yield Watched(process, own)
