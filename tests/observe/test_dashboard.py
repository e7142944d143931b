"""Every panel of the dashboard has data, in a real Prometheus that scrapes real servers under load.

The server of the GPU's panels runs on doubles of TensorRT-LLM's executor and of NVML; the other one
is whole: real weights, real Redis, real media.
"""

import contextlib
import json
import math
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from picture import draw
from programs import ROOT, environ, free_port, running, unpacked, until
from redis_server import RedisServer
from server_process import KEY, Process, launcher
from traffic import CLIPS, during

from server.access.keys import new_key

SECONDS = float(os.environ.get("SUSSURRO_TEST_LOAD_SECONDS", "75"))
PICTURE = os.environ.get("SUSSURRO_TEST_PICTURE", "")
PANELS = [
    panel
    for panel in json.loads((ROOT / "ops/grafana/sussurro.json").read_text(encoding="utf-8"))[
        "panels"
    ]
    if panel["type"] != "row"
]
LIMITED = new_key("limited", limits=("requests_per_minute=5",))
SCRAPER = new_key("prometheus", scopes={"metrics"})
GPU_TEST = Path(__file__).with_name("gpu_server.py")


class Prometheus:
    """The real one; queries are those of the panels, with Grafana's variables filled in."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=f"{url}/api/v1", timeout=30)
        self.started = time.time()
        self.close = self._client.close

    def get(self, path: str, **params: Any) -> Any:
        """What the API answers."""
        answer = self._client.get(path, params=params).json()
        assert "success" == answer["status"], answer
        return answer["data"]

    def of_panel(self, panel: dict[str, Any]) -> list[tuple[str, list[tuple[float, float]]]]:
        """Its lines: what they are called, and (seconds since the start, value)."""
        lines = []
        for target in panel["targets"]:
            expr = target["expr"].replace("$__rate_interval", "15s").replace("$instance", ".*")
            found = self.get("query_range", query=expr, start=self.started, end=time.time(), step=1)
            for series in found["result"]:
                name = target["legendFormat"]
                for label, value in series["metric"].items():
                    name = name.replace("{{" + label + "}}", value)
                points = [
                    (float(at) - self.started, float(value)) for at, value in series["values"]
                ]
                lines.append((name, [point for point in points if math.isfinite(point[1])]))
        return [line for line in lines if line[1]]


def server_of(launch: Any, weights: Path, redis: RedisServer, jobs: Path) -> Process:
    """The whole one, with bounds that the load meets."""
    server: Process = launch(
        *("-m", "server"),
        SUSSURRO_WEIGHTS_DIR=str(weights),
        SUSSURRO_API_KEYS=f"{KEY.record} {SCRAPER.record} {LIMITED.record}",
        SUSSURRO_REDIS_URL=redis.url,
        SUSSURRO_JOBS_DIR=str(jobs),
        SUSSURRO_WEBHOOK_SECRET="whsec_" + "c3Vzc3Vycm8" * 4,
        SUSSURRO_WEBHOOK_ALLOW="127.0.0.1",
        SUSSURRO_MAX_REQUESTS="4",
        SUSSURRO_MAX_WAITING="4",
        SUSSURRO_MAX_QUEUE_WAIT="2",
        SUSSURRO_FAILURES_PER_MINUTE="20",
    )
    return server


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, weights_dir: Path) -> Iterator[Prometheus]:
    """A minute of load, scraped every second."""
    folder = tmp_path_factory.mktemp("prometheus")
    root = unpacked("prometheus")
    redis = RedisServer(folder)
    redis.start()
    with launcher(folder) as launch:
        server = server_of(launch, weights_dir, redis, folder / "jobs")
        work = folder / "gpu"
        work.mkdir()
        paths = (ROOT, ROOT / "tests/trtllm", GPU_TEST.parent / "doubles")
        gpu = launch(
            str(GPU_TEST),
            PYTHONPATH=":".join(map(str, paths)),
            GPU_WORK=str(work),
            GPU_TOKENIZER=str(weights_dir / "base/tokenizer.json"),
            SUSSURRO_METRICS_PORT="0",
        )
        server.ready()
        gpu.ready()
        (folder / "key").write_text(SCRAPER.key)
        own_port = gpu.line("listening_for_metrics")["port"]
        job = {"metrics_path": "/metrics", "scrape_interval": "1s"}
        jobs = [
            {
                "job_name": "sussurro",
                **job,
                "authorization": {"credentials_file": str(folder / "key")},
                "static_configs": [{"targets": [server.url.removeprefix("http://")]}],
            },
            {
                "job_name": "gpu",
                **job,
                "static_configs": [{"targets": [f"127.0.0.1:{own_port}"]}],
                "relabel_configs": [{"target_label": "job", "replacement": "sussurro"}],
            },
        ]
        config = folder / "prometheus.yaml"
        config.write_text(yaml.safe_dump({"scrape_configs": jobs}))
        port = free_port()
        command = [
            root / "usr/bin/prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with running(command, root, folder / "prometheus.log"):
            found = Prometheus(f"http://127.0.0.1:{port}")
            until(lambda: up(found) == 2, "both servers are scraped", 60)
            found.started = time.time()
            other = threading.Thread(target=speak_to, args=(gpu, SECONDS))
            other.start()
            during(SECONDS, server.url, LIMITED)
            other.join()
            time.sleep(2)
            yield found
            found.close()
    redis.kill()


def up(prometheus: Prometheus) -> int:
    """Servers that answer scrapes."""
    try:
        return sum(
            value["value"][1] == "1" for value in prometheus.get("query", query="up")["result"]
        )
    except httpx.HTTPError:
        return 0


def speak_to(server: Process, seconds: float) -> None:
    """One recording after the other; the double may take as long as it likes for one."""
    ends = time.monotonic() + seconds
    with server.client() as client:
        while time.monotonic() < ends:
            form = {"file": ("x", CLIPS[0].read_bytes())}
            with contextlib.suppress(httpx.TimeoutException):
                client.post("/v1/audio/transcriptions", files=form, timeout=10)


@pytest.mark.model
@pytest.mark.timeout(600)
@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_has_data(prometheus: Prometheus, panel: dict[str, Any]) -> None:
    """Each of its queries does."""
    for target in panel["targets"]:
        lines = prometheus.of_panel({"targets": [target]})
        assert lines, target["expr"]


@pytest.mark.model
def test_something_happened(prometheus: Prometheus) -> None:
    """The load met what the panels are for: lines, and none of them flat at 0."""
    for title in (
        "Limits hit",
        "Clients that left",
        "Media that was not decoded",
        "Windows in a batch",
        "Jobs that ended",
        "Tries of webhooks",
    ):
        (panel,) = [panel for panel in PANELS if panel["title"] == title]
        assert any(value > 0 for _, points in prometheus.of_panel(panel) for _, value in points)
    (limits,) = [panel for panel in PANELS if panel["title"] == "Limits hit"]
    hit = {name for name, points in prometheus.of_panel(limits) if any(v for _, v in points)}
    assert {"rate_limit_exceeded", "too_many_failures", "overloaded"} <= hit


@pytest.mark.model
def test_the_panels_are_drawn(prometheus: Prometheus) -> None:
    """The picture in the documents, where SUSSURRO_TEST_PICTURE names its file."""
    if not PICTURE:
        pytest.skip("no SUSSURRO_TEST_PICTURE")
    draw([(panel, prometheus.of_panel(panel)) for panel in PANELS], Path(PICTURE))
    assert Path(PICTURE).stat().st_size > 10_000


@pytest.mark.model
def test_promtool_finds_nothing_wrong_with_a_scrape(prometheus: Prometheus) -> None:
    """Names, types and help as Prometheus wants them."""
    target = prometheus.get("targets")["activeTargets"][0]["scrapeUrl"]
    text = httpx.get(target, headers={"Authorization": f"Bearer {SCRAPER.key}"}).content
    root = unpacked("prometheus")
    done = subprocess.run(
        [root / "usr/bin/promtool", "check", "metrics"],
        input=text,
        env=environ(root),
        capture_output=True,
        check=False,
    )
    assert (0, b"") == (done.returncode, done.stdout + done.stderr)
