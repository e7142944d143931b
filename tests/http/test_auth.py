"""Who may come in."""

import pytest
from edge_bench import EXPIRED, FILE, FORM_TYPE, KEY, NARROW, Bench, error_of, form

from server.access.keys import new_key

CLOSED = [
    ("GET", "/v1/models"),
    ("GET", "/v1/models/base"),
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/audio/translations"),
    ("GET", "/nope"),
    ("GET", "/healthz/"),
    ("GET", "/%68ealthz"),
    ("OPTIONS", "/v1/models"),
    ("GET", "/metrics"),
]


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_everything_else_needs_a_key(bench: Bench, method: str, path: str) -> None:
    """Denied by default, on the path as it was sent: even that a URL is unknown is not told."""
    response = bench.request(method, path, headers={"Authorization": ""})

    assert 401 == response.status_code
    assert 'Bearer realm="sussurro"' == response.headers["www-authenticate"]
    assert "invalid_api_key" == error_of(response)["code"]


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/?x=1", "/docs", "/openapi.json"])
def test_probes_need_no_key(bench: Bench, path: str) -> None:
    """A proxy has none; the description is that of every server."""
    assert 200 == bench.request("GET", path, headers={"Authorization": ""}).status_code


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY.key}"},
        {"Authorization": f"bearer   {KEY.key} "},
        {"Authorization": "", "api-key": KEY.key},
        {"Authorization": "Basic Zm9v", "api-key": KEY.key},
        {"Authorization": f"Bearer {KEY.key}", "OpenAI-Organization": ""},
    ],
)
def test_a_good_key_comes_in(bench: Bench, headers: dict[str, str]) -> None:
    """OpenAI's header, or Azure's."""
    assert 200 == bench.request("GET", "/v1/models", headers=headers).status_code
    assert "tester" == bench.lines()[0]["key_id"]


@pytest.mark.parametrize(
    "value",
    [
        f"Bearer {new_key('tester').key}",
        f"Bearer {new_key('stranger').key}",
        f"Bearer {EXPIRED.key}",
        f"Bearer {KEY.key[:-1]}",
        "Bearer sk-1234",
        b"Bearer \xff\xfe",
        f"Bearer {KEY.key} {KEY.key}",
    ],
)
def test_every_bad_key_gets_the_same_answer(bench: Bench, value: str | bytes) -> None:
    """Unknown, expired and malformed keys cannot be told apart, nor are they logged."""
    response = bench.request("GET", "/v1/models", headers=[(b"Authorization", value)])

    assert 401 == response.status_code
    assert (
        "Incorrect API key. Send a valid one as `Authorization: Bearer wsk_...`."
        == error_of(response)["message"]
    )
    assert "key_id" not in bench.lines()[0]


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer  ", f"Basic {KEY.key}", KEY.key])
def test_no_key_is_told_how_to_send_one(bench: Bench, value: str) -> None:
    """The difference to a bad key tells nothing that the caller does not know."""
    response = bench.request("GET", "/v1/models", headers={"Authorization": value})

    assert "You did not provide an API key" in error_of(response)["message"]


@pytest.mark.parametrize("task", ["transcriptions", "translations"])
def test_a_key_without_the_scope_is_forbidden(bench: Bench, task: str) -> None:
    """Before the upload is looked at."""
    response = bench.request(
        "POST",
        f"/v1/audio/{task}",
        content=form(FILE),
        headers={**FORM_TYPE, "Authorization": f"Bearer {NARROW.key}"},
    )

    assert 403 == response.status_code
    assert "insufficient_scope" == error_of(response)["code"]
    assert [] == bench.loader.uploads


def test_a_key_with_the_scope_may(bench: Bench) -> None:
    """The narrow key lists models, as it should."""
    headers = {"Authorization": f"Bearer {NARROW.key}"}

    assert 200 == bench.request("GET", "/v1/models", headers=headers).status_code
