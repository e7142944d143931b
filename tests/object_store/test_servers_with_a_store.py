"""Real servers that keep the audio of jobs in a store, and what happens when it dies or hangs."""

import time
from pathlib import Path

import httpx
import psycopg
from postgres_server import PostgresServer
from s3_store import S3Store
from server_process import Start
from test_servers import AUDIO, SHORT, ended, half_done, post, submit, until


def count(client: httpx.Client) -> int:
    """Jobs that the server knows of."""
    return len(client.get("/v1/jobs").json()["data"])


def test_servers_that_share_no_folder_share_their_jobs(
    start: Start, postgres: PostgresServer, tmp_path: Path
) -> None:
    """One is killed in the middle of a job; the other, elsewhere, goes on where it was."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE shared")
    shared = {"SUSSURRO_DATABASE_URL": postgres.url("shared")}
    hold = tmp_path / "hold"
    first = start(
        FAKE_WINDOW_SECONDS="0.1",
        FAKE_HOLD=str(hold),
        SUSSURRO_JOBS_DIR=str(tmp_path / "first"),
        **shared,
    ).ready()
    with first.client() as client:
        expected = post(client, AUDIO).json()["text"]
        path = half_done(first, client, hold)
    first.popen.kill()
    second = start(SUSSURRO_JOBS_DIR=str(tmp_path / "second"), **shared).ready()
    with second.client() as client:
        assert "succeeded" == until(client, path, ended)["status"]
        assert expected == client.get(path + "/transcript").json()["text"]
    assert second.line("job")["windows_kept"] >= 3
    assert not (tmp_path / "first" / "audio").exists()
    assert 0 == second.stop()


def test_a_dead_store_refuses_jobs_and_nothing_else(
    start: Start, store: S3Store, tmp_path: Path
) -> None:
    """503 and no job; other requests are served. What was accepted ends when it is back."""
    hold = tmp_path / "hold"
    jobs = str(tmp_path / "jobs")
    server = start(
        FAKE_HOLD=str(hold), SUSSURRO_JOBS_DIR=jobs, SUSSURRO_MAX_RUNNING_JOBS="1"
    ).ready()
    with server.client() as client:
        hold.touch()
        running, queued = submit(client, SHORT), submit(client, SHORT)
        until(client, running, lambda job: job["status"] == "running")
        store.kill()
        refused = post(client, SHORT, background="true")
        assert (503, "jobs_unavailable") == (refused.status_code, refused.json()["error"]["code"])
        assert 2 == count(client)
        hold.unlink()
        assert 200 == post(client, SHORT).status_code
        assert "succeeded" == until(client, running, ended)["status"]
        time.sleep(12)  # far longer than the queued job would have been given up in
        assert "running" == client.get(queued).json()["status"]
        assert "audio_store" == server.line("job_put_off")["reason"]
        store.start()
        assert "succeeded" == until(client, queued, ended, within=60)["status"]
        assert "succeeded" == until(client, submit(client, SHORT), ended)["status"]
    assert 0 == server.stop()


def test_a_store_that_hangs_holds_nobody_else_up(
    start: Start, store: S3Store, tmp_path: Path
) -> None:
    """Whoever wants a job waits for some time, then gets 503; others are served meanwhile."""
    server = start(SUSSURRO_JOBS_DIR=str(tmp_path / "jobs")).ready()
    with server.client() as client:
        client.timeout = httpx.Timeout(120)
        assert "succeeded" == until(client, submit(client, SHORT), ended)["status"]
        store.hang()
        try:
            began = time.monotonic()
            for _ in range(5):
                assert 200 == post(client, SHORT).status_code
            assert time.monotonic() - began < 10
            refused = post(client, SHORT, background="true")
        finally:
            store.go_on()
        assert (503, "jobs_unavailable") == (refused.status_code, refused.json()["error"]["code"])
        assert "succeeded" == until(client, submit(client, SHORT), ended)["status"]
    assert 0 == server.stop()
