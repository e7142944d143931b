"""`Idempotency-Key` at the edge: the same again, or refused with what to do."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from edge_bench import FILE, FORM_TYPE, NARROW, Bench, build, error_of, form, post

from server import texts
from server.errors import EngineError, Overloaded

ROUTE = "/v1/audio/transcriptions"
BACKGROUND = ("background", "true")


@pytest.fixture
def kept(tmp_path: Path) -> Bench:
    """The application with a folder of jobs; nobody works on them."""
    return build(tmp_path, jobs_dir=tmp_path / "jobs", audio_minutes_per_day=1)


def keyed(bench: Bench, *parts: Any, key: str = "k1", **headers: str) -> Any:
    """A request with a key."""
    return post(bench, *(parts or (FILE,)), Idempotency_Key=key, **headers)


@pytest.mark.parametrize("asked", ["json", "verbose_json", "text", "srt", "vtt"])
def test_the_same_again_is_answered_without_work(kept: Bench, asked: str) -> None:
    """Byte by byte, with the type and the warnings; the audio is neither decoded nor charged."""
    kept.loader.seconds, kept.loader.warnings = 40, ("audio_truncated",)
    parts = (("response_format", asked), FILE)
    first = keyed(kept, *parts)
    kept.transcriber.error = EngineError("not again")
    again = keyed(kept, *parts)

    assert (200, None) == (first.status_code, first.headers.get("idempotent-replayed"))
    assert (200, "true") == (again.status_code, again.headers["idempotent-replayed"])
    for name in ("content-type", "x-sussurro-warning"):
        assert first.headers[name] == again.headers[name]
    assert first.content == again.content
    assert 1 == len(kept.loader.uploads)
    [day] = kept.request("GET", "/v1/usage").json()["data"]
    assert (1, 0.667) == (day["requests"], day["audio_minutes"])


def test_a_stream_is_replayed_whole(kept: Bench) -> None:
    """With the same events, at once."""
    first, again = (keyed(kept, ("stream", "true"), FILE) for _ in range(2))

    assert b"transcript.text.done" in first.content
    assert first.content == again.content
    assert first.headers["content-type"] == again.headers["content-type"]
    assert "true" == again.headers["idempotent-replayed"]


def test_the_same_job_comes_back(kept: Bench) -> None:
    """As it stands then; one job, one file, one charge."""
    kept.loader.seconds = 40
    first = keyed(kept, BACKGROUND, FILE)
    again = keyed(kept, FILE, Prefer="respond-async")
    kept.request("DELETE", first.headers["location"])
    later = keyed(kept, BACKGROUND, FILE)

    assert [202] * 3 == [response.status_code for response in (first, again, later)]
    assert first.headers["location"] == again.headers["location"] == later.headers["location"]
    assert first.json() == again.json()
    assert "cancelled" == later.json()["status"]
    assert 1 == len(kept.request("GET", "/v1/jobs").json()["data"])


OTHERS = {
    "audio": ('file"; filename="a.mp3', b"ID3 other bytes"),
    "field": ("temperature", "0.2"),
    "twice": ("include[]", "logprobs"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_request_is_refused(kept: Bench, other: str) -> None:
    """409, which no SDK tries again; the first answer stays."""
    first = keyed(kept)
    parts = [OTHERS[other]] if other == "audio" else [OTHERS[other], FILE]
    refused = keyed(kept, *parts)

    assert (409, "idempotency_key_reused") == (refused.status_code, error_of(refused)["code"])
    assert "false" == refused.headers["x-should-retry"]
    assert first.content == keyed(kept).content


def test_another_route_is_another_request(kept: Bench) -> None:
    """Azure's deployment and the task are part of what is asked."""
    keyed(kept)

    assert 409 == keyed(kept, path="/v1/audio/translations").status_code


def test_boundary_name_and_order_do_not_matter(kept: Bench) -> None:
    """A client that sends its form again writes it anew."""
    one = keyed(kept, ("language", "pt"), ("temperature", "0"), FILE)
    renamed = ('file"; filename="b.ogg', FILE[1])
    body = form(renamed, ("temperature", "0"), ("language", "pt")).replace(b"x9b", b"y8b")
    content_type = FORM_TYPE["Content-Type"].replace("x9b", "y8b")
    headers = {"Content-Type": content_type, "Idempotency-Key": '"k1"'}
    again = kept.request("POST", ROUTE, content=body, headers=headers)

    assert one.content == again.content
    assert "true" == again.headers["idempotent-replayed"]


@pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 256, '""'])
def test_a_key_has_a_form(kept: Bench, key: str) -> None:
    """Refused before the upload; its own words are not repeated."""
    body = form(FILE)
    headers = {**FORM_TYPE, "Idempotency-Key": key.encode()}
    refused = kept.request("POST", ROUTE, content=body, headers=headers)

    assert (400, "Idempotency-Key") == (refused.status_code, error_of(refused)["param"])
    assert [] == kept.loader.uploads


def test_a_server_that_keeps_nothing_says_so(bench: Bench) -> None:
    """It does not promise what it cannot hold."""
    refused = keyed(bench)

    assert (400, "idempotency_off") == (refused.status_code, error_of(refused)["code"])
    assert "SUSSURRO_JOBS_DIR" in error_of(refused)["message"]
    assert bench.transcriber.options is None


@pytest.mark.parametrize("error", [EngineError("x"), Overloaded(texts.NO_DISK, retry_after=1)])
@pytest.mark.parametrize("parts", [(FILE,), (BACKGROUND, FILE)])
def test_a_failure_is_not_kept(kept: Bench, error: Exception, parts: Any) -> None:
    """The same key works once the server is well; what failed cost nothing."""
    kept.loader.seconds = 40
    kept.loader.error = kept.transcriber.error = error
    failed = keyed(kept, *parts)
    kept.loader.error = kept.transcriber.error = None
    again = keyed(kept, *parts)

    assert failed.status_code >= 500
    assert again.status_code in (200, 202)
    assert "idempotent-replayed" not in again.headers


def test_what_is_wrong_leaves_its_key_free(kept: Bench) -> None:
    """It did nothing, so the corrected request may have it; quota is asked again."""
    wrong = keyed(kept, ("temperature", "9"), FILE)
    kept.loader.seconds = 90
    too_much = keyed(kept)
    kept.loader.seconds = 30

    assert (400, 429) == (wrong.status_code, too_much.status_code)
    assert 200 == keyed(kept).status_code


def test_the_same_at_once_is_told_to_wait(kept: Bench) -> None:
    """409 with the time; then it has the answer."""
    kept.transcriber.hold = True

    async def both() -> tuple[Any, Any]:
        first = asyncio.create_task(asyncio.to_thread(keyed, kept))
        await asyncio.to_thread(kept.transcriber.started.wait, 5)
        second = await asyncio.to_thread(keyed, kept)
        kept.transcriber.hold = False
        return await first, second

    first, second = asyncio.run(both())

    assert (409, "idempotency_key_in_use") == (second.status_code, error_of(second)["code"])
    assert ("5", "true") == (second.headers["retry-after"], second.headers["x-should-retry"])
    assert first.content == keyed(kept).content


def test_a_key_without_the_scope_is_not_answered_from_memory(kept: Bench) -> None:
    """Scopes are checked first."""
    keyed(kept)

    assert 403 == keyed(kept, Authorization=f"Bearer {NARROW.key}").status_code
