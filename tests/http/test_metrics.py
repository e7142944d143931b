"""`/metrics`: who may read it, what it counts, and what can never get into it."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from edge_bench import (
    ADMIN,
    FILE,
    KEY,
    METRICS,
    TRANSCRIPT,
    Bench,
    build,
    connected,
    error_of,
    eventually,
    form,
    head,
    post,
    read_response,
    serving,
)
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from server import texts
from server.errors import BadAudio, InternalError
from server.http.metrics import CONTENT_TYPE
from server.types import TranscriptionStats

Samples = dict[str, float]
AS_PROMETHEUS = {"Authorization": f"Bearer {METRICS.key}"}


def samples(text: str) -> Samples:
    """Every sample, as Prometheus writes it, in the order of its labels."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def scraped(bench: Bench) -> Samples:
    """What a scrape finds."""
    response = bench.request("GET", "/metrics", headers=AS_PROMETHEUS)
    assert (200, CONTENT_TYPE) == (response.status_code, response.headers["content-type"])
    return samples(response.text)


@pytest.mark.parametrize("key", [KEY.key, ADMIN.key])
def test_only_the_scope_reads_metrics(bench: Bench, key: str) -> None:
    """They tell how much others do, so neither `admin` nor the usual scopes suffice."""
    refused = bench.request("GET", "/metrics", headers={"Authorization": f"Bearer {key}"})

    assert (403, "insufficient_scope") == (refused.status_code, error_of(refused)["code"])
    assert "sussurro_" not in refused.text


def test_a_head_request_is_answered(bench: Bench) -> None:
    """As a GET, without the figures."""
    answer = bench.request("HEAD", "/metrics", headers=AS_PROMETHEUS)

    assert (200, "") == (answer.status_code, answer.text)


def test_a_transcription_is_counted(bench: Bench) -> None:
    """Its route, status, audio, windows, and each stage of its time."""
    stats = TranscriptionStats(windows=3, fallbacks=2, dropped=1, calls=4, batched=6)
    bench.transcriber.transcript = replace(TRANSCRIPT, stats=stats)
    assert 200 == post(bench, FILE, ("model", "whisper-1")).status_code

    found = scraped(bench)
    route = 'route="/v1/audio/transcriptions"'
    assert 1 == found[f'sussurro_requests_total{{method="POST",{route},status="200"}}']
    assert 1 == found['sussurro_audio_seconds_total{model="base",task="transcribe"}']
    assert 3 == found['sussurro_windows_total{model="base"}']
    assert 2 == found['sussurro_fallbacks_total{model="base"}']
    assert 1 == found['sussurro_dropped_total{model="base"}']
    assert 4 == found['sussurro_engine_calls_total{model="base"}']
    assert 6 == found['sussurro_engine_batched_total{model="base"}']
    assert 1 == found['sussurro_real_time_factor_count{model="base"}']
    for stage in ("upload", "load", "wait", "queue", "compute", "format"):
        assert 1 == found[f'sussurro_stage_seconds_count{{stage="{stage}"}}']
    assert 1 == found[f"sussurro_request_seconds_count{{{route}}}"]
    assert found["sussurro_upload_bytes_total"] > 100


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BadAudio(texts.NOT_MEDIA, reason="not_media"), "not_media"),
        (InternalError("x", reason="decoder_killed"), "decoder_killed"),
        (InternalError("x", reason="OSError"), "other"),
        (RuntimeError("secret"), "other"),
    ],
)
def test_a_decoders_failure_is_counted_by_its_kind(
    bench: Bench, error: Exception, reason: str
) -> None:
    """Kinds are those that the decoder knows; everything else is one kind."""
    bench.loader.error = error
    post(bench, FILE)

    assert 1 == scraped(bench)[f'sussurro_media_failures_total{{reason="{reason}"}}']


def test_a_refusal_is_counted_by_its_code(bench: Bench) -> None:
    """Errors are those of the tree."""
    bench.request("GET", "/v1/models", headers={"Authorization": "Bearer wsk_secret"})
    bench.request("GET", "/secret/path")

    found = scraped(bench)
    assert 1 == found['sussurro_errors_total{code="invalid_api_key"}']
    assert 1 == found['sussurro_errors_total{code="unknown_url"}']


def test_nothing_that_a_caller_chooses_becomes_a_label(bench: Bench) -> None:
    """Paths, methods, keys, names, models and ids of a caller's make no series."""
    marks = {f"Marker{number}" for number in range(6)}
    one, two, three, four, five, six = sorted(marks)
    post(bench, ("model", one), FILE)
    post(bench, ("prompt", two), ('file"; filename="' + three + ".mp3", b"x"))
    bench.request("GET", f"/v1/models/{four}")
    bench.request(five.upper(), "/v1/models", headers={"x-request-id": six})
    seen = []
    for start in (0, 10, 20):
        for number in range(start, start + 10):
            bench.request(f"VERB{number}", f"/v1/other{number}")
            post(bench, ("model", f"other{number}"), FILE)
        seen.append(scraped(bench).keys())

    assert seen[1] == seen[2]  # the first scrape is in the second one
    text = bench.request("GET", "/metrics", headers=AS_PROMETHEUS).text
    for secret in (*marks, five.upper(), "tester", "prometheus", KEY.key):
        assert secret not in text


def test_gauges_tell_how_the_server_is_now(bench: Bench) -> None:
    """Read at the scrape: what waits, what works."""
    bench.transcriber.waiting = 5
    bench.transcriber.engine.healthy = False
    bench.loader.healthy = False
    bench.admission.drain()

    found = scraped(bench)
    assert 5 == found['sussurro_windows_waiting{model="base"}']
    assert 0 == found['sussurro_engine_healthy{model="base"}']
    assert 0 == found["sussurro_media_loader_healthy"]
    assert 1 == found["sussurro_draining"]
    assert 1 == found['sussurro_model_ready{model="base"}']
    assert 1 == found['sussurro_engine_info{build="weights",engine="ctranslate2",model="base"}']
    assert found["process_resident_memory_bytes"] > 1 << 20


def test_a_model_that_loads_is_not_ready(tmp_path: Path) -> None:
    """It has no engine yet, so that nothing is said of one."""
    bench = build(tmp_path, models=("base", "small"))
    found = scraped(bench)

    assert 0 == found['sussurro_model_ready{model="small"}']
    assert 'sussurro_engine_healthy{model="small"}' not in found


def test_a_client_that_leaves_is_counted(bench: Bench) -> None:
    """By a status that is never sent."""
    bench.transcriber.hold = True
    with serving(bench) as (port, _):
        with connected(port) as client:
            body = form(FILE)
            client.sendall(head(Content_Length=str(len(body))) + body)
            assert bench.transcriber.started.wait(10)
        assert eventually(lambda: bool(bench.lines()))

    found = scraped(bench)
    route = 'route="/v1/audio/transcriptions"'
    assert 1 == found['sussurro_errors_total{code="client_disconnected"}']
    assert 1 == found[f'sussurro_requests_total{{method="POST",{route},status="499"}}']


class Slow:
    """A figure that takes as long as a test wants."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()

    def collect(self) -> list[Metric]:
        """Nothing, in the end."""
        self.asked.set()
        assert self.go_on.wait(10)
        return []


def test_a_slow_scrape_holds_nobody_up(bench: Bench) -> None:
    """It is written in a thread: others are answered meanwhile."""
    slow = Slow()
    bench.metrics.registry.register(slow)
    with serving(bench) as (port, _), connected(port) as one, connected(port) as two:
        one.sendall(head("GET", "/metrics", Authorization=f"Bearer {METRICS.key}"))
        assert slow.asked.wait(10)
        two.sendall(head("GET", "/healthz"))
        assert 200 == read_response(two)[0]
        slow.go_on.set()
        status, _, body = read_response(one)

    assert (200, True) == (status, b"sussurro_build_info" in body)


def test_jobs_are_among_the_figures(tmp_path: Path) -> None:
    """What waits, by number, audio and age, and how jobs ended; nothing of it without jobs."""
    bench = build(tmp_path, jobs_dir=tmp_path / "jobs")
    bench.loader.seconds = 7
    paths = [post(bench, ("background", "true"), FILE).headers["location"] for _ in range(2)]
    bench.request("DELETE", paths[0])
    found = scraped(bench)

    assert 1 == found["sussurro_jobs_queued"]
    assert 7 == found["sussurro_jobs_queued_audio_seconds"]
    assert 0 <= found["sussurro_jobs_oldest_queued_seconds"] < 60
    assert 0 == found["sussurro_jobs_running"]
    assert 1 == found["sussurro_jobs_database_up"]
    assert [0, 0, 1, 0] == [
        found[f'sussurro_jobs_ended_total{{state="{state}"}}']
        for state in ("succeeded", "failed", "cancelled", "expired")
    ]
    assert not [name for name in scraped(build(tmp_path)) if name.startswith("sussurro_jobs")]


def test_a_database_that_is_gone_does_not_stop_a_scrape(tmp_path: Path) -> None:
    """It says that it is gone; what only it knows is missing."""
    bench = build(tmp_path, jobs_dir=tmp_path / "jobs")
    assert bench.jobs is not None
    bench.jobs._database._run(lambda c: c.exec_driver_sql("DROP TABLE jobs"))
    found = scraped(bench)

    assert 0 == found["sussurro_jobs_database_up"]
    assert 0 == found["sussurro_jobs_running"]
    assert "sussurro_jobs_queued" not in found
