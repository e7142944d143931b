"""What log and metrics cost, beside the 11-s clip that they tell of.

`PYTHONPATH=.:tests/e2e python tests/observe/cost.py WEIGHTS_DIR`
Runs the real server on 11 s of speech (the median of nine), then times what it does for each
request besides: the line that is written, its counters, and a whole scrape, as often as
Prometheus comes in that time (every 15 s).
"""

import asyncio
import io
import json
import statistics
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

from server_process import launcher

from ops.bench.clips import decode
from server.access.windows import Windows
from server.admission import Admission, Bounds
from server.metrics.registry import Metrics
from server.metrics.state import Parts
from server.observe import logs
from server.observe.logs import RequestRecord
from server.types import SAMPLE_RATE

CLIP = Path(__file__).parents[1] / "audio" / "en-long.ogg"
SECONDS = 11
SCRAPE_EVERY = 15.0


def clip() -> bytes:
    """The beginning of a longer recording, as WAV."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(decode(CLIP)[: SECONDS * SAMPLE_RATE].tobytes())
    return file.getvalue()


def wall(weights: str, folder: Path) -> tuple[float, RequestRecord]:
    """Seconds of the clip, median of nine; and a record like those of its log."""
    with launcher(folder) as launch:
        server = launch("-m", "server", SUSSURRO_WEIGHTS_DIR=weights).ready()
        data, took = clip(), []
        with server.client() as client:
            for _ in range(11):
                started = time.perf_counter()
                answer = client.post("/v1/audio/transcriptions", files={"file": ("x", data)})
                took.append(time.perf_counter() - started)
                assert 200 == answer.status_code
        line = server.lines("request")[-1]
        known = {field.name for field in fields(RequestRecord)}
        record = RequestRecord(**{key: value for key, value in line.items() if key in known})
    return statistics.median(took[2:]), record


def seconds_of(call: Callable[[], object], times: int) -> float:
    """Median of one call."""
    took = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def main(weights: str) -> None:
    """Measure, and print a row for docs/performance.md."""
    with tempfile.TemporaryDirectory() as scratch:
        whole, record = wall(weights, Path(scratch))
        with (Path(scratch) / "log").open("w") as out:
            logs.configure("info", out)
            transcribers = {"base": SimpleNamespace(engine=_Engine(), waiting=0)}
            loader, windows = SimpleNamespace(healthy=True), Windows(None, 1)
            metrics = Metrics(
                Parts(("base",), transcribers, Admission(Bounds()), loader, windows, {})
            )
            line = seconds_of(lambda: record.write(1.0), 5000)
            counters = seconds_of(lambda: metrics.request_done(record), 5000)
            scrape = seconds_of(lambda: asyncio.run(metrics.render()), 200)
    share = (line + counters + scrape * whole / SCRAPE_EVERY) / whole
    row = {
        "clip_s": round(whole, 3),
        "line_ms": round(1000 * line, 3),
        "counters_ms": round(1000 * counters, 3),
        "scrape_ms": round(1000 * scrape, 2),
        "share_of_clip": f"{100 * share:.3f} %",
    }
    print(json.dumps(row))  # noqa: T201
    if share >= 0.01:
        sys.exit("more than 1 %")


class _Engine:
    """Only what a scrape looks at."""

    def stats(self) -> object:
        """Nothing to do."""
        return SimpleNamespace(waiting=0, running=0, healthy=True, kv_cache_used=None)


if __name__ == "__main__":
    main(sys.argv[1])
