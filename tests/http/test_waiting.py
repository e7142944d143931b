"""Places and room as a client meets them: a little waiting, then 429 or 503."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import httpx
import pytest
from edge_bench import FILE, FORM_TYPE, KEY, Bench, build, error_of, form

PATH = "/v1/audio/transcriptions"


async def ask(bench: Bench) -> httpx.Response:
    """A good request, without a socket."""
    transport = httpx.ASGITransport(bench.app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        headers = {**FORM_TYPE, "Authorization": f"Bearer {KEY.key}"}
        return await client.post(PATH, content=form(FILE), headers=headers)


def refused(bench: Bench, key_id: str, audio_s: float = 1.0) -> httpx.Response:
    """The answer while somebody else holds a place."""

    async def story() -> httpx.Response:
        async with bench.admission.enter(key_id) as place:
            await place.hold(audio_s)
            return await ask(bench)

    response = asyncio.run(story())
    assert int(response.headers["retry-after"]) >= 1
    assert "true" == response.headers["x-should-retry"]
    assert 0 == bench.admission.active
    return response


@pytest.mark.parametrize("wait", [0, 0.05])
def test_a_full_server_refuses_before_the_upload(bench: Bench, wait: float) -> None:
    """503 with a time to come back, at once or after the longest wait; nothing is read."""
    bench = build(bench.settings.spool_dir, max_requests=1, max_queue_wait=wait)
    response = refused(bench, "other")

    assert (503, "overloaded") == (response.status_code, error_of(response)["code"])
    assert [] == bench.loader.uploads


def test_a_caller_beyond_its_share_is_refused_before_the_upload(bench: Bench) -> None:
    """429 for this key, while the server still takes others."""
    bench = build(bench.settings.spool_dir, max_requests_per_key=1, max_queue_wait=0)
    response = refused(bench, "tester")

    assert (429, "rate_limit_exceeded") == (response.status_code, error_of(response)["code"])
    assert "requests" == error_of(response)["type"]
    assert [] == bench.loader.uploads


def test_audio_beyond_the_bound_is_refused_once_its_length_is_known(bench: Bench) -> None:
    """503: the recording has a second, and there is room for half of one."""
    bench = build(bench.settings.spool_dir, max_queued_audio_seconds=2, max_queue_wait=0)
    response = refused(bench, "other", audio_s=1.5)

    assert (503, "overloaded") == (response.status_code, error_of(response)["code"])
    assert 1 == len(bench.loader.uploads)


def waiting(bench: Bench, then: Coroutine[Any, Any, None] | None = None) -> httpx.Response:
    """The answer to a request that came while the server was full, until `then` was done."""

    async def story() -> httpx.Response:
        async with bench.admission.enter("other"):
            asking = asyncio.create_task(ask(bench))
            while not bench.admission.waiting:
                await asyncio.sleep(0.01)
            assert [] == bench.loader.uploads
            if then:
                await then
        return await asking

    return asyncio.run(story())


def test_a_request_waits_a_little_for_a_place(bench: Bench) -> None:
    """A late answer beats a refusal: n8n does not try again. The log tells the wait."""
    bench = build(bench.settings.spool_dir, max_requests=1, max_queue_wait=5)
    response = waiting(bench, asyncio.sleep(0.05))

    assert 200 == response.status_code
    assert 0.04 < bench.lines()[0]["wait_s"] < 5
    assert "tester" == bench.transcriber.key_id


def test_who_waits_is_sent_away_when_the_door_closes(bench: Bench) -> None:
    """503 at once: the successor may have a place."""
    bench = build(bench.settings.spool_dir, max_requests=1, max_queue_wait=60)

    async def drain() -> None:
        bench.readiness.close()

    response = waiting(bench, drain())
    assert (503, "draining") == (response.status_code, error_of(response)["code"])
    assert [] == bench.loader.uploads
