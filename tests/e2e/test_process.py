"""The process: starting, serving, stopping, and every way not to start."""

import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from server_process import KEY, Process, Start, noise

TRANSCRIPTIONS = "/v1/audio/transcriptions"
FILES = {"file": ("n.wav", noise(2.0))}


def test_a_recording_goes_all_the_way(start: Start) -> None:
    """Upload, sandbox, windows, engine, format and log line, in one process."""
    server = start().ready()
    with server.client() as client:
        response = client.post(TRANSCRIPTIONS, files=FILES, data={"language": "pt"})

    assert (200, "Bom dia.") == (response.status_code, response.json()["text"])
    line = server.line("request")
    assert ("e2e", 200, "base", 2.0) == (
        line["key_id"],
        line["status"],
        line["model"],
        line["audio_s"],
    )


def test_probes_answer_while_the_models_load(start: Start) -> None:
    """Alive at once, ready later, and no upload is taken in between."""
    server = start(FAKE_LOAD_SECONDS="1.5")
    with server.client() as client:
        assert 200 == client.get("/healthz").status_code
        assert 503 == client.get("/readyz").status_code
        assert "not_ready" == client.post(TRANSCRIPTIONS, files=FILES).json()["error"]["code"]
        server.ready()
        assert 200 == client.get("/readyz").status_code


def test_sigterm_lets_running_requests_end(start: Start) -> None:
    """Readiness first, then the door, then the work, then exit code 0."""
    server = start(FAKE_WINDOW_SECONDS="2", SUSSURRO_DRAIN_GRACE="0.5").ready()
    with ThreadPoolExecutor(1) as pool, server.client() as client:
        answer = pool.submit(
            httpx.post,
            server.url + TRANSCRIPTIONS,
            files=FILES,
            data={"language": "pt"},
            headers={"Authorization": f"Bearer {KEY.key}"},
            timeout=30,
        )
        wait_for_work(client)
        server.popen.send_signal(signal.SIGTERM)
        server.line("draining")
        probe = client.get("/readyz")

        assert (503, "draining") == (probe.status_code, probe.json()["error"]["code"])
        assert 200 == answer.result().status_code
    assert 0 == server.exit_code()
    assert [] == server.lines("fault") + server.lines("library")
    assert "" == server.stderr
    assert 1 == len(server.lines("stopped"))


def wait_for_work(client: httpx.Client) -> None:
    """Until the request of another thread has surely been sent and taken up."""
    time.sleep(0.7)
    assert 200 == client.get("/healthz").status_code


def test_work_that_outlasts_the_drain_is_told_so(start: Start) -> None:
    """503 and exit code 0, in little more than the drain's time."""
    server = start(FAKE_WINDOW_SECONDS="4", SUSSURRO_DRAIN_GRACE="0", SUSSURRO_DRAIN_TIMEOUT="0.5")
    server.ready()
    with ThreadPoolExecutor(1) as pool, server.client() as client:
        answer = pool.submit(
            httpx.post,
            server.url + TRANSCRIPTIONS,
            files=FILES,
            data={"language": "pt"},
            headers={"Authorization": f"Bearer {KEY.key}"},
            timeout=30,
        )
        wait_for_work(client)
        client.close()
        server.popen.send_signal(signal.SIGTERM)

        assert (503, "draining") == (
            answer.result().status_code,
            answer.result().json()["error"]["code"],
        )
    assert 0 == server.exit_code()
    assert [] == server.lines("fault")


def test_a_client_that_leaves_a_stream_frees_the_engine(start: Start) -> None:
    """What it still had in the queue is not computed: the next caller is served at once."""
    server = start(FAKE_WINDOW_SECONDS="0.5").ready()
    form = {"file": ("n.wav", noise(168.0, (28.0, 56.0, 84.0, 112.0, 140.0)))}
    fields = {"language": "pt", "stream": "true"}
    with server.client() as client:
        with client.stream("POST", TRANSCRIPTIONS, files=form, data=fields) as stream:
            first = next(stream.iter_lines())
        started = time.monotonic()
        answer = client.post(TRANSCRIPTIONS, files=FILES, data={"language": "pt"})
        took = time.monotonic() - started

    assert '"delta":"Bom' in first
    assert 200 == answer.status_code
    assert took < 2.5
    assert 499 == server.line("request")["status"]


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_stops_at_once(start: Start, with_signal: signal.Signals) -> None:
    """Idle connections do not hold it up."""
    server = start(SUSSURRO_DRAIN_GRACE="0").ready()
    with server.client() as client:
        client.get("/healthz")
        started = time.monotonic()

        assert 0 == server.stop(with_signal)
        assert time.monotonic() - started < 5


def test_a_second_signal_cuts_the_waiting_short(start: Start) -> None:
    """Somebody who presses Ctrl-C twice means it."""
    server = start(SUSSURRO_DRAIN_GRACE="60").ready()
    server.popen.send_signal(signal.SIGINT)
    server.line("draining")

    assert 0 == server.stop(signal.SIGINT, within=10)


def test_a_stop_does_not_wait_for_loading(start: Start) -> None:
    """Loading an engine may take minutes."""
    server = start(FAKE_LOAD_SECONDS="60", SUSSURRO_DRAIN_GRACE="0")
    server.line("listening")

    assert 0 == server.stop(within=10)


def test_a_model_that_does_not_load_ends_the_server(start: Start) -> None:
    """Exit code 1, so that a supervisor tries again; the log says where, not what."""
    server = start(FAKE_LOAD_FAILS="1")

    assert 1 == server.exit_code()
    (line,) = server.lines("loading_failed")
    assert ["builtins.RuntimeError"] == [error["type"] for error in line["exception"]]
    assert "secret" not in server.stdout + server.stderr


def test_a_port_that_is_taken_ends_the_server(start: Start) -> None:
    """Exit code 1: it may be free next time."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = start(SUSSURRO_PORT=str(other.getsockname()[1]))

        assert 1 == server.exit_code()
    assert 1 == len(server.lines("cannot_listen"))


def refused(server: Process) -> list[str]:
    """The problems that a server which is set up wrongly tells, with exit code 78."""
    assert 78 == server.exit_code()
    lines = server.stderr.splitlines()
    assert all(line.startswith("sussurro: ") for line in lines)
    return [line.removeprefix("sussurro: ") for line in lines]


def test_wrong_settings_are_told_all_at_once(start: Start) -> None:
    """Exit code 78: starting again would not help."""
    found = refused(start("-m", "server", SUSSURRO_PORT="x", SUSSURRO_SPEED="9"))

    assert ["SUSSURRO_PORT", "SUSSURRO_SPEED"] == sorted(line.split(":")[0] for line in found)


def test_wrong_key_records_are_told_all_at_once(start: Start) -> None:
    """The records themselves are not repeated."""
    found = refused(start("-m", "server", SUSSURRO_API_KEYS="a:md5:hunter2 b"))

    assert ["key record 1", "key record 2"] == [line.split(":")[0] for line in found]
    assert not any("hunter2" in line for line in found)


def test_without_a_key_nothing_starts(start: Start) -> None:
    """There is no open mode; the message names the command that helps."""
    (problem,) = refused(start("-m", "server", SUSSURRO_API_KEYS=""))

    assert "ops keys new" in problem


def test_without_weights_nothing_starts(start: Start, tmp_path: Path) -> None:
    """Every model that lacks files is named, with the command that fetches them."""
    found = refused(
        start("-m", "server", SUSSURRO_MODELS="base,small", SUSSURRO_WEIGHTS_DIR=str(tmp_path))
    )

    assert ["ops weights get base", "ops weights get small"] == [
        line.partition("python -m ")[2].rstrip("`") for line in found
    ]


def test_many_clients_at_once_are_all_answered(start: Start) -> None:
    """Requests wait for each other instead of being refused."""
    server = start(FAKE_WINDOW_SECONDS="0.05").ready()
    statuses: list[int] = []

    def ask() -> None:
        with server.client() as client:
            response = client.post(TRANSCRIPTIONS, files=FILES, data={"language": "pt"})
            statuses.append(response.status_code)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [200] * 20 == statuses


def test_memory_stays_flat_while_a_large_file_uploads(start: Start) -> None:
    """100 MB cost less than 16 MB: what arrives goes to the disk."""
    server = start().ready()
    status = Path(f"/proc/{server.popen.pid}/status")

    def peak_kib() -> int:
        (line,) = [x for x in status.read_text().splitlines() if x.startswith("VmHWM")]
        return int(line.split()[1])

    with server.client() as client:
        client.post(TRANSCRIPTIONS, files=FILES, data={"language": "pt"})
        before = peak_kib()
        response = client.post(TRANSCRIPTIONS, files={"file": bytes(100 << 20)})

        assert 400 == response.status_code
        assert peak_kib() - before < 16 * 1024
