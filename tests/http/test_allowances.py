"""What a caller may use up, as the caller sees it; and what was used."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from edge_bench import (
    ADMIN,
    FILE,
    FORM_TYPE,
    KEY,
    NARROW,
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
from pydantic import SecretStr

from server import texts
from server.access.callers import Callers
from server.access.keys import new_key
from server.access.tokens import public_text
from server.errors import BadAudio, EngineError, RateLimited
from server.http.problems import render
from server.settings import Settings

MODELS = "/v1/models"
FAILURES = [
    EngineError("a fault"),
    RuntimeError("a fault of ours"),
]


def rate_headers(response: Any) -> list[str | None]:
    """OpenAI's three."""
    return [
        response.headers.get(f"x-ratelimit-{name}-requests")
        for name in ("limit", "remaining", "reset")
    ]


def used(bench: Bench) -> list[tuple[str, int, float]]:
    """Everybody's requests and seconds of audio."""
    days = asyncio.run(bench.access.usage.by_day(None))
    return [(day.name, day.requests, day.audio_s) for day in days]


def test_the_answer_says_what_is_left(tmp_path: Path) -> None:
    """On every answer to a good key, errors too; not where nothing limits."""
    bench = build(tmp_path, requests_per_minute=3)

    found = [bench.request("GET", path) for path in (MODELS, "/v1/nope", MODELS)]
    assert ["3", "2", "1m0s"] == rate_headers(found[0])
    assert ["3", "1"] == rate_headers(found[1])[:2]
    assert ["3", "0"] == rate_headers(found[2])[:2]
    assert [None] * 3 == rate_headers(bench.request("GET", "/healthz"))
    assert [None] * 3 == rate_headers(build(tmp_path).request("GET", MODELS))


def test_one_request_too_many_is_refused_before_the_upload(tmp_path: Path) -> None:
    """429, and when a place is free again: then it is."""
    bench = build(tmp_path, requests_per_minute=1)
    assert 200 == post(bench, FILE).status_code
    refused = post(bench, FILE)

    assert (429, "rate_limit_exceeded") == (refused.status_code, error_of(refused)["code"])
    assert "1 requests a minute" in error_of(refused)["message"]
    assert ["1", "0"] == rate_headers(refused)[:2]
    assert 58 <= int(refused.headers["retry-after"]) <= 60
    assert "true" == refused.headers["x-should-retry"]
    assert 1 == len(bench.loader.uploads)
    assert ["tester", "tester"] == [line["key_id"] for line in bench.lines()]


def test_retry_after_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits as long as told is let in."""
    bench = build(tmp_path, requests_per_minute=1)
    bench.request("GET", MODELS)
    wait = int(bench.request("GET", MODELS).headers["retry-after"])
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + wait)

    assert 200 == bench.request("GET", MODELS).status_code


def test_each_key_has_its_own_minute(tmp_path: Path) -> None:
    """One caller's flood is not another's."""
    bench = build(tmp_path, requests_per_minute=1)
    other = {"Authorization": f"Bearer {NARROW.key}"}

    codes = [bench.request("GET", MODELS).status_code for _ in range(2)]
    assert [200, 429, 200] == [*codes, bench.request("GET", MODELS, headers=other).status_code]


def test_a_recording_beyond_the_minutes_is_refused(tmp_path: Path) -> None:
    """Once its length is known; OpenAI's code, and no retry that could not help."""
    bench = build(tmp_path, audio_minutes_per_hour=1)
    for _ in range(60):
        asyncio.run(bench.access.allowances.remember("tester", 1.0, 0.0))
    refused = post(bench, FILE)

    assert (429, "insufficient_quota", "insufficient_quota") == (
        refused.status_code,
        error_of(refused)["type"],
        error_of(refused)["code"],
    )
    assert "1 minutes of audio" in error_of(refused)["message"]
    assert 1 <= int(refused.headers["retry-after"]) <= 3600
    assert [] == used(bench)


@pytest.mark.parametrize(("wait", "retry"), [(60, "true"), (61, "false"), (None, "false")])
def test_a_long_wait_is_not_for_sdks(wait: int | None, retry: str) -> None:
    """They would not wait so long, but send the recording again at once."""
    assert retry == render(RateLimited(texts.WRONG_KEY, retry_after=wait)).headers["x-should-retry"]


def charged(bench: Bench) -> float:
    """Seconds that count against this hour's minutes."""
    counters = bench.access.windows._local.storage
    return sum(count for key, count in counters.items() if key.startswith("audio:hour"))


def test_an_answer_is_counted_once(tmp_path: Path) -> None:
    """Requests and seconds; refused and other requests are not."""
    bench = build(tmp_path, audio_minutes_per_hour=1)
    assert 200 == post(bench, FILE).status_code
    assert 200 == bench.request("GET", MODELS).status_code
    assert 400 == post(bench, FILE, ("model", "base"), ("language", "xx")).status_code

    assert [("tester", 1, 1.0)] == used(bench)
    assert 1 == charged(bench)


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("fields", [(), (("stream", "true"),)], ids=["whole", "stream"])
def test_what_fails_by_our_fault_is_given_back(
    tmp_path: Path, error: Exception, fields: tuple[tuple[str, str], ...]
) -> None:
    """Charged minutes too, also if the answer had begun."""
    bench = build(tmp_path, audio_minutes_per_hour=1)
    bench.transcriber.error = error
    post(bench, FILE, *fields)

    assert [500] == [line["status"] for line in bench.lines()]
    assert ([], 0) == (used(bench), charged(bench))


def test_a_deadline_gives_back(tmp_path: Path) -> None:
    """The server was too slow."""
    bench = build(tmp_path, audio_minutes_per_hour=1, request_timeout=0.05)
    bench.transcriber.hold = True

    assert 504 == post(bench, FILE).status_code
    assert ([], 0) == (used(bench), charged(bench))


def test_what_the_caller_spoils_is_not_charged(tmp_path: Path) -> None:
    """There was no audio to charge for."""
    bench = build(tmp_path, audio_minutes_per_hour=1)
    bench.loader.error = BadAudio(texts.WRONG_KEY)

    assert 400 == post(bench, FILE).status_code
    assert ([], 0) == (used(bench), charged(bench))


BODY = form(FILE)


def begun(bench: Bench, port: int, then: Callable[[Any], None]) -> None:
    """Send a recording over a socket, and do something once it is being transcribed."""
    bench.transcriber.hold = True
    with connected(port) as client:
        client.sendall(head(Content_Length=str(len(BODY))) + BODY)
        assert bench.transcriber.started.wait(5)
        then(client)


def test_a_client_that_leaves_stays_charged(tmp_path: Path) -> None:
    """The work was under way; but there was no answer to count."""
    bench = build(tmp_path, audio_minutes_per_hour=1)
    with serving(bench) as (port, _):
        begun(bench, port, lambda client: None)
        assert eventually(lambda: bench.lines() != [])

    assert [499] == [line["status"] for line in bench.lines()]
    assert ([], 1) == (used(bench), charged(bench))


def test_a_stop_gives_back(tmp_path: Path) -> None:
    """The client hears 503, and has lost nothing."""
    bench = build(tmp_path, audio_minutes_per_hour=1, drain_grace=0.0, drain_timeout=0.1)
    with serving(bench) as (port, listener):

        def stop(client: Any) -> None:
            listener.stop()
            assert 503 == read_response(client)[0]

        begun(bench, port, stop)

    assert ([], 0) == (used(bench), charged(bench))


def test_usage_is_ones_own(bench: Bench) -> None:
    """By day, in minutes."""
    post(bench, FILE)
    post(bench, FILE)
    body = bench.request("GET", "/v1/usage").json()
    other = bench.request("GET", "/v1/usage", headers={"Authorization": f"Bearer {NARROW.key}"})

    today = time.strftime("%Y-%m-%d", time.gmtime())
    entry = {"name": "tester", "date": today, "requests": 2, "audio_minutes": 0.033}
    assert {"object": "list", "data": [entry]} == body
    assert [] == other.json()["data"]


def test_usage_of_all_is_for_admins(bench: Bench) -> None:
    """And an admin without other scopes may do nothing else."""
    admin = {"Authorization": f"Bearer {ADMIN.key}"}
    post(bench, FILE)

    data = bench.request("GET", "/v1/usage", headers=admin).json()["data"]
    assert ["tester"] == [entry["name"] for entry in data]
    assert 403 == bench.request("GET", MODELS, headers=admin).status_code


def test_bad_keys_are_throttled_but_good_ones_are_not(tmp_path: Path) -> None:
    """Both come from one address, a proxy's perhaps."""
    bench = build(tmp_path, failures_per_minute=2)
    bad = {"Authorization": f"Bearer {new_key('tester').key}"}
    found = [bench.request("GET", MODELS, headers=bad) for _ in range(3)]

    assert [401, 401, 429] == [response.status_code for response in found]
    assert "too_many_failures" == error_of(found[2])["code"]
    assert 1 <= int(found[2].headers["retry-after"]) <= 60
    assert 200 == bench.request("GET", MODELS).status_code
    assert ["key_unknown"] * 2 == [line["reason"] for line in bench.lines()[:2]]


def test_a_throttled_upload_is_not_read(tmp_path: Path) -> None:
    """Its connection ends instead: bad keys cost us no traffic."""
    bench = build(tmp_path, failures_per_minute=1)
    with serving(bench) as (port, _):
        for number in range(2):
            with connected(port) as client:
                length = str(number * 9_999_999)
                client.sendall(head(Content_Length=length, Authorization="Bearer wsk_wrong"))
                status, headers, _ = read_response(client)
                assert ([401, 429][number], [None, "close"][number]) == (
                    status,
                    headers.get("connection"),
                )


def test_a_token_comes_in(tmp_path: Path) -> None:
    """In either header, with its own limits; the log has subject and id."""
    private, now = Ed25519PrivateKey.generate(), int(time.time())
    bench = build(tmp_path)
    settings = Settings(token_keys=SecretStr(public_text("ops", private.public_key())))
    bench.access.gate._callers = Callers.from_settings(settings)
    claims = {"iss": "sussurro", "aud": "sussurro", "sub": "desk", "jti": "x1", "iat": now}
    claims |= {"exp": now + 60, "scope": "models", "limits": {"requests_per_minute": 2}}
    token = jwt.encode(claims, private, algorithm="EdDSA", headers={"kid": "ops"})
    found = [
        bench.request("GET", MODELS, headers={"Authorization": f"Bearer {token}"}),
        bench.request("GET", MODELS, headers={"Authorization": "", "api-key": token}),
        bench.request("GET", MODELS, headers={"Authorization": f"Bearer {token}"}),
    ]

    assert [200, 200, 429] == [response.status_code for response in found]
    assert ["2", "1"] == rate_headers(found[0])[:2]
    assert "desk/x1" == bench.lines()[0]["key_id"]
    scope = bench.request(
        "POST",
        "/v1/audio/transcriptions",
        content=BODY,
        headers={**FORM_TYPE, "Authorization": f"Bearer {token[:-9]}"},
    )
    assert 401 == scope.status_code


def test_a_key_may_have_its_own_number_of_requests_at_once(tmp_path: Path) -> None:
    """Fewer than the server's default; then it waits or is refused."""
    narrow = new_key("narrow", limits=["max_requests=1"])
    bench = build(tmp_path, max_queue_wait=0.0)
    records = f"{narrow.record} {KEY.record}"
    bench.access.gate._callers = Callers.from_settings(Settings(api_keys=SecretStr(records)))
    with serving(bench) as (port, _):
        bench.transcriber.hold = True
        with connected(port) as one, connected(port) as two:
            for client in (one, two):
                request = head(Content_Length=str(len(BODY)))
                client.sendall(request.replace(KEY.key.encode(), narrow.key.encode()) + BODY)
                assert bench.transcriber.started.wait(5)
            status, _, body = read_response(two)
            bench.transcriber.hold = False
            assert 200 == read_response(one)[0]

    assert 429 == status
    assert b"as many requests under way" in body
