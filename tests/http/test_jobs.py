"""Jobs at the edge: taken with 202, seen by their owner alone, refused with what to do."""

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from edge_bench import ADMIN, FILE, NARROW, Bench, build, error_of, post
from jsonschema import Draft202012Validator
from pydantic import SecretStr
from sqlalchemy import Connection

from server.errors import EngineError
from server.http.openapi import COMPONENTS
from server.jobs import queue
from server.jobs.record import pack_transcript
from server.settings import Settings

BACKGROUND = ("background", "true")
AS_ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
def jobs(tmp_path: Path) -> Bench:
    """The application with a folder of jobs; nobody works on them."""
    return build(tmp_path, jobs_dir=tmp_path / "jobs")


def audio_of(bench: Bench) -> list[str]:
    """Files of audio on disk."""
    assert bench.settings.jobs_dir is not None
    return [each.name for each in (bench.settings.jobs_dir / "audio").iterdir()]


def checked(name: str, value: Any) -> Any:
    """A value that is as `/openapi.json` says."""
    schema = {**COMPONENTS[name], "components": {"schemas": COMPONENTS}}
    Draft202012Validator(schema).validate(value)
    return value


def submit(bench: Bench, *parts: tuple[str, str], **headers: str) -> str:
    """A job that was taken; its path."""
    response = post(bench, BACKGROUND, *parts, FILE, **headers)
    assert 202 == response.status_code, response.text
    return response.headers["location"]


def do(bench: Bench, work: Any) -> Any:
    """Something in the table, as a worker would."""
    assert bench.jobs is not None
    return asyncio.run(bench.jobs._database.run(work))


def succeed(bench: Bench, path: str) -> None:
    """The job is claimed and done, with the bench's transcript."""
    now = bench.jobs._clock() if bench.jobs else 0.0
    claim = partial(queue.claim, now=now, lease_until=now + 9, models=("base",), token="t")

    def work(connection: Connection) -> None:
        claimed = claim(connection)
        assert claimed is not None
        assert path.endswith(claimed.id)
        packed = pack_transcript(bench.transcriber.transcript)
        how = queue.End("succeeded", now, now + 99, transcript=packed)
        assert queue.end(connection, queue.Lease(claimed.seq, "t"), how)

    do(bench, work)


def test_a_job_is_taken_and_described(jobs: Bench) -> None:
    """202, where it is, and how it stands; its audio is on disk, and the log names it."""
    response = post(jobs, BACKGROUND, FILE)
    body = checked("Job", response.json())

    assert 202 == response.status_code
    assert f"/v1/jobs/{body['id']}" == response.headers["location"]
    assert ("queued", "transcribe", "base", 1.0, 0.0, 0) == tuple(
        body[name]
        for name in ("status", "task", "model", "audio_seconds", "done_seconds", "jobs_ahead")
    )
    assert body["estimated_finish"] >= body["created_at"]
    assert [body["id"]] == audio_of(jobs)
    assert body["id"] == jobs.lines()[-1]["job"]
    assert jobs.transcriber.options is None
    assert body == jobs.request("GET", response.headers["location"]).json()


def test_what_is_kept_is_closed_to_other_users(jobs: Bench) -> None:
    """The folder lets nobody else in, whatever the files in it allow."""
    assert jobs.settings.jobs_dir is not None

    assert 0o700 == jobs.settings.jobs_dir.stat().st_mode & 0o777


@pytest.mark.parametrize("prefer", ["respond-async", "wait=9, respond-async", "Respond-Async; x=1"])
def test_the_header_says_the_same_as_the_field(jobs: Bench, prefer: str) -> None:
    """And the answer says that it was heeded."""
    response = post(jobs, FILE, Prefer=prefer)

    assert (202, "respond-async") == (
        response.status_code,
        response.headers["preference-applied"],
    )


@pytest.mark.parametrize("prefer", ["return=minimal", "respond-asynchronous", ""])
def test_other_preferences_change_nothing(jobs: Bench, prefer: str) -> None:
    """The text comes at once."""
    assert 200 == post(jobs, FILE, Prefer=prefer).status_code


def test_a_translation_may_be_a_job(jobs: Bench) -> None:
    """By its own route."""
    response = post(jobs, BACKGROUND, FILE, path="/v1/audio/translations")

    assert (202, "translate") == (response.status_code, response.json()["task"])


@pytest.mark.parametrize(("parts", "headers"), [([BACKGROUND], {}), ([], AS_ASYNC)])
def test_a_server_without_jobs_says_so(
    bench: Bench, parts: list[tuple[str, str]], headers: dict[str, str]
) -> None:
    """Nothing is transcribed, and nothing is ignored."""
    error = error_of(response := post(bench, *parts, FILE, **headers))

    assert (400, "jobs_off", "background") == (
        response.status_code,
        error["code"],
        error["param"],
    )
    assert bench.transcriber.options is None
    for path in ("/v1/jobs", f"/v1/jobs/job_{'0' * 32}", f"/v1/jobs/job_{'0' * 32}/transcript"):
        assert "jobs_off" == error_of(bench.request("GET", path))["code"]


def test_a_job_cannot_be_streamed(jobs: Bench) -> None:
    """By field or by header."""
    for parts, headers in (([BACKGROUND], {}), ([], AS_ASYNC)):
        error = error_of(post(jobs, ("stream", "true"), *parts, FILE, **headers))
        assert ("invalid_value", "background") == (error["code"], error["param"])


def test_what_is_wrong_with_a_request_is_told_at_once(jobs: Bench) -> None:
    """Fields and audio are checked before a job is taken; nothing is left behind."""
    jobs.loader.error = EngineError("x")
    assert 500 == post(jobs, BACKGROUND, FILE).status_code
    assert 400 == post(jobs, BACKGROUND, ("temperature", "9"), FILE).status_code
    assert 404 == post(jobs, BACKGROUND, ("model", "x"), FILE).status_code

    assert [] == jobs.request("GET", "/v1/jobs").json()["data"]
    assert [] == audio_of(jobs)


def test_a_callers_jobs_are_its_own(jobs: Bench) -> None:
    """Another key, even an administrator's, finds neither job nor list entry."""
    path = submit(jobs)
    other = {"Authorization": f"Bearer {ADMIN.key}"}
    responses = [
        jobs.request("GET", path, headers=other),
        jobs.request("DELETE", path, headers=other),
        jobs.request("GET", path + "/transcript", headers=other),
        jobs.request("GET", f"/v1/jobs?after={path.rpartition('/')[2]}", headers=other),
    ]

    assert [(404, "job_not_found")] * 4 == [(r.status_code, error_of(r)["code"]) for r in responses]
    assert [] == jobs.request("GET", "/v1/jobs", headers=other).json()["data"]
    assert "queued" == jobs.request("GET", path).json()["status"]


def test_a_key_without_the_scope_gets_no_job(jobs: Bench) -> None:
    """As for an answer at once."""
    response = post(jobs, BACKGROUND, FILE, Authorization=f"Bearer {NARROW.key}")

    assert 403 == response.status_code


@pytest.mark.parametrize("job_id", ["x", "job_x", f"job_{'0' * 32}", "job_%00", "%F0%9F%98%80"])
def test_a_job_that_is_not_there(jobs: Bench, job_id: str) -> None:
    """404, whatever its id looks like."""
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/transcript")):
        response = jobs.request(method, f"/v1/jobs/{job_id}{path}")
        assert (404, "job_not_found") == (response.status_code, error_of(response)["code"])


def test_lists_come_in_pages(jobs: Bench) -> None:
    """Newest first; `has_more` says whether another page is worth asking for."""
    ids = [submit(jobs).rpartition("/")[2] for _ in range(3)][::-1]
    first = checked("JobList", jobs.request("GET", "/v1/jobs?limit=2").json())
    last = jobs.request("GET", f"/v1/jobs?limit=2&after={ids[1]}").json()

    assert (ids[:2], True) == ([job["id"] for job in first["data"]], first["has_more"])
    assert (ids[2:], False) == ([job["id"] for job in last["data"]], last["has_more"])
    assert [2, 1] == [job["jobs_ahead"] for job in first["data"]]
    assert 3 == len(jobs.request("GET", "/jobs").json()["data"])


@pytest.mark.parametrize("limit", ["0", "101", "x", "-1", "1e2", ""])
def test_a_limit_has_bounds(jobs: Bench, limit: str) -> None:
    """With the field's name."""
    error = error_of(response := jobs.request("GET", f"/v1/jobs?limit={limit}"))

    assert (400, "limit") == (response.status_code, error["param"])
    assert "1 to 100" in error["message"]


def test_a_transcript_is_not_there_before_its_time(jobs: Bench) -> None:
    """409 with the time to wait; for one that will never come, 404."""
    path = submit(jobs)
    early = jobs.request("GET", path + "/transcript")
    jobs.request("DELETE", path)
    never = jobs.request("GET", path + "/transcript", headers={"Accept-Language": "pt-BR"})

    assert (409, "job_not_finished") == (early.status_code, error_of(early)["code"])
    assert int(early.headers["retry-after"]) >= 1
    assert (404, "transcript_unavailable") == (never.status_code, error_of(never)["code"])
    assert "cancelada" in error_of(never)["message"]


FORMATS = {
    "json": "application/json",
    "verbose_json": "application/json",
    "text": "text/plain; charset=utf-8",
    "srt": "text/plain; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_had_from_one_run(jobs: Bench, name: str) -> None:
    """Byte by byte what a request at once gets, with words and log probabilities, too."""
    extra = {"json": "include[]=logprobs", "verbose_json": "timestamp_granularities[]=word"}
    asked = [("response_format", name)]
    if name in extra:
        field, _, value = extra[name].partition("=")
        asked.append((field, value))
    at_once = post(jobs, *asked, FILE)
    path = submit(jobs)
    succeed(jobs, path)
    query = "&".join([f"response_format={name}", extra.get(name, "")])
    later = jobs.request("GET", f"{path}/transcript?{query}")

    assert (200, at_once.content) == (later.status_code, later.content)
    assert FORMATS[name] == later.headers["content-type"]


def test_without_a_query_the_form_of_the_job_says_how(jobs: Bench) -> None:
    """A query replaces what the form said about the answer as a whole."""
    path = submit(jobs, ("response_format", "verbose_json"), ("x_dropped", "true"))
    succeed(jobs, path)

    assert {"segments", "x_dropped"} < jobs.request("GET", path + "/transcript").json().keys()
    assert {"text", "usage"} == (
        jobs.request("GET", path + "/transcript?response_format=json").json().keys()
    )
    wrong = jobs.request("GET", path + "/transcript?response_format=xml")
    assert (400, "response_format") == (wrong.status_code, error_of(wrong)["param"])


def test_a_query_that_is_no_text_harms_nobody(jobs: Bench) -> None:
    """It is read as far as it can be."""
    assert 200 == jobs.request("GET", "/v1/jobs?%FF%FE=%FF").status_code


def test_deleting_frees_what_a_job_holds(jobs: Bench) -> None:
    """Audio of one that waits, the text of one that is done; twice is once."""
    waiting = submit(jobs)
    for _ in range(2):
        gone = jobs.request("DELETE", waiting)
        assert (200, "cancelled") == (gone.status_code, checked("Job", gone.json())["status"])
    done = submit(jobs)
    succeed(jobs, done)

    assert "expired" == jobs.request("DELETE", done).json()["status"]
    assert 404 == jobs.request("GET", done + "/transcript").status_code


def test_the_queue_has_bounds(tmp_path: Path) -> None:
    """One caller's, then everybody's; before the audio is decoded."""
    bench = build(tmp_path, jobs_dir=tmp_path / "jobs", max_queued_jobs_per_key=1)
    submit(bench)
    mine = post(bench, BACKGROUND, FILE)
    full = build(tmp_path, jobs_dir=tmp_path / "jobs", max_queued_jobs=1)
    everybodys = post(full, BACKGROUND, FILE)

    assert [(429, "rate_limit_exceeded"), (503, "overloaded")] == [
        (response.status_code, error_of(response)["code"]) for response in (mine, everybodys)
    ]
    assert "retry-after" in everybodys.headers
    assert (1, 0) == (len(bench.loader.uploads), len(full.loader.uploads))


def test_the_folder_of_audio_has_a_bound(tmp_path: Path) -> None:
    """Of all jobs that are not done; told before a file is written, and freed with the job."""
    bench = build(tmp_path, jobs_dir=tmp_path / "jobs", max_jobs_bytes=1 << 20)
    bench.loader.seconds = 20
    first = submit(bench)
    full = post(bench, BACKGROUND, FILE)
    bench.request("DELETE", first)

    assert (503, "overloaded") == (full.status_code, error_of(full)["code"])
    assert "jobs_full" == bench.lines()[1]["reason"]
    assert 202 == post(bench, BACKGROUND, FILE).status_code
    assert 1 == len(audio_of(bench))


def test_minutes_are_charged_once_and_given_back(tmp_path: Path) -> None:
    """When a job is taken, not when it is read; given back if it is cancelled before it begins."""
    bench = build(tmp_path, jobs_dir=tmp_path / "jobs", audio_minutes_per_day=1)
    bench.loader.seconds = 50
    path = submit(bench)
    over = post(bench, BACKGROUND, FILE)
    bench.request("DELETE", path)
    again = post(bench, BACKGROUND, FILE)

    assert (429, "insufficient_quota") == (over.status_code, error_of(over)["code"])
    assert 202 == again.status_code
    assert [] == bench.request("GET", "/v1/usage").json()["data"]


def test_a_full_disk_refuses_and_charges_nothing(
    jobs: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, with no file and no row left."""

    def full(_descriptor: int) -> None:
        raise OSError(28, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        response = post(jobs, BACKGROUND, FILE)

    assert (503, "overloaded") == (response.status_code, error_of(response)["code"])
    assert [] == audio_of(jobs)
    assert [] == jobs.request("GET", "/v1/jobs").json()["data"]


def test_a_database_that_is_gone_is_503(jobs: Bench) -> None:
    """With nothing of its own words."""
    assert jobs.jobs is not None
    jobs.jobs._database._run(lambda c: c.exec_driver_sql("DROP TABLE turns"))
    response = post(jobs, BACKGROUND, FILE)

    assert (503, "jobs_unavailable") == (response.status_code, error_of(response)["code"])
    assert "turns" not in response.text + jobs.log.getvalue()


def test_a_database_needs_a_folder() -> None:
    """The audio has to lie somewhere; the start is refused."""
    from server.__main__ import ConfigError, configure  # noqa: PLC0415 - it is the process's own

    environ = {
        "SUSSURRO_API_KEYS": ADMIN.record,
        "SUSSURRO_DATABASE_URL": "postgresql://x:hunter2@y/z",
    }
    with pytest.raises(ConfigError, match="SUSSURRO_JOBS_DIR") as caught:
        configure(environ)

    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(Settings(database_url=SecretStr("hunter2")))
