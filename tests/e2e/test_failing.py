"""A real process whose engine hangs or dies: nobody waits for ever, and its supervisor is told."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from server_process import KEY, Process, Start, noise

TRANSCRIPTIONS = "/v1/audio/transcriptions"
TIMEOUT = 1.0


def ask(url: str, **fields: str) -> tuple[httpx.Response, float]:
    """One transcription: the answer, and how long it took."""
    started = time.monotonic()
    answer = httpx.post(
        url + TRANSCRIPTIONS,
        files={"file": ("n.wav", noise(2.0))},
        data={"language": "pt", **fields},
        headers={"Authorization": f"Bearer {KEY.key}"},
        timeout=30,
    )
    return answer, time.monotonic() - started


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Once this file is there, the engine breaks."""
    return tmp_path / "broken"


@pytest.fixture
def server(start: Start, broken: Path) -> Process:
    """A server whose engine gets a second for each window."""
    return start(
        FAKE_BROKEN=str(broken),
        FAKE_WINDOW_TIMEOUT=str(TIMEOUT),
        SUSSURRO_DRAIN_GRACE="0.5",
    ).ready()


@pytest.mark.parametrize(("how", "event"), [("", "engine_stuck"), ("die", "engine_died")])
def test_an_engine_that_breaks_ends_the_server(
    server: Process, broken: Path, how: str, event: str
) -> None:
    """503 for all its requests within the bound, readiness off, then exit code 1."""
    url = server.url
    broken.write_text(how)
    with ThreadPoolExecutor(6) as pool, server.client() as client:
        answers = [pool.submit(ask, url) for _ in range(6)]
        server.line(event)
        probe = client.get("/readyz")
        found = [answer.result() for answer in answers]

    assert 503 == probe.status_code
    # The server stops as soon as it has noticed, which may be before the probe.
    assert probe.json()["error"]["code"] in {"not_ready", "draining"}
    assert ["engine_unavailable"] * 6 == [a.json()["error"]["code"] for a, _ in found]
    assert [(503, "30")] * 6 == [(a.status_code, a.headers["retry-after"]) for a, _ in found]
    assert max(seconds for _, seconds in found) < TIMEOUT + 2.5
    started = time.monotonic()
    assert 1 == server.exit_code(within=10)
    assert time.monotonic() - started < 5
    assert ["base"] == [line["model"] for line in server.lines("engine_failed")]
    assert 1 == len(server.lines("stopped"))
    assert [] == server.lines("fault") + server.lines("library")
    assert "" == server.stderr


def test_an_engine_that_breaks_ends_streams_and_early_answers(start: Start, broken: Path) -> None:
    """What has begun cannot become a 503: an event says it, or the connection is cut."""
    server = start(
        FAKE_BROKEN=str(broken),
        FAKE_WINDOW_TIMEOUT=str(TIMEOUT),
        SUSSURRO_KEEPALIVE_AFTER="0.1",
        SUSSURRO_KEEPALIVE_INTERVAL="0.1",
    ).ready()
    url = server.url
    broken.touch()
    with ThreadPoolExecutor(2) as pool:
        stream = pool.submit(ask, url, stream="true")
        json = pool.submit(ask, url)
        with pytest.raises(httpx.RemoteProtocolError):
            json.result()
        answer, _ = stream.result()

    assert 200 == answer.status_code
    assert answer.text.startswith(": keep-alive\n\n")
    assert '"code": "engine_unavailable"' in answer.text
    assert 1 == server.exit_code(within=10)
    assert [503, 503] == [line["status"] for line in server.lines("request")]
    assert [None, True] == sorted(
        (line.get("aborted") for line in server.lines("request")), key=bool
    )


def test_an_engine_that_hangs_at_its_first_window_ends_the_start(
    start: Start, broken: Path
) -> None:
    """Warming it is a window like any other; no supervisor waits for a server that never is."""
    broken.touch()
    server = start(FAKE_BROKEN=str(broken), FAKE_WINDOW_TIMEOUT=str(TIMEOUT))

    assert 1 == server.exit_code(within=15)
    assert 1 == len(server.lines("loading_failed"))


def test_work_that_is_slow_is_not_stuck(start: Start) -> None:
    """Many windows, each within its time, take as long as they take."""
    server = start(FAKE_WINDOW_SECONDS="0.6", FAKE_WINDOW_TIMEOUT=str(TIMEOUT)).ready()
    url = server.url
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(ask(url)[0].status_code)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [200] * 8 == statuses
    assert 0 == server.stop()
