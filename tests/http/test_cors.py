"""Scripts of web pages: nobody's may call, unless the operator lists their page."""

from pathlib import Path

import pytest
from edge_bench import Bench, build
from pydantic import ValidationError

from server.settings import Settings

PAGE = "https://app.example.com"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type",
    "Authorization": "",
}


def cors(headers: object) -> dict[str, str]:
    """The headers that are about this."""
    return {k: v for k, v in dict(headers).items() if k.startswith("access-control-")}  # type: ignore[call-overload]


def ask(bench: Bench, path: str = "/v1/audio/transcriptions", **headers: str) -> dict[str, str]:
    """A browser's question before it calls; the status under `status`."""
    response = bench.request("OPTIONS", path, headers={**PREFLIGHT, **headers})
    return {"status": str(response.status_code), **cors(response.headers)}


def test_it_is_off_by_default(bench: Bench) -> None:
    """No header, and the question is a request without a key like any other."""
    assert {"status": "401"} == ask(bench)
    response = bench.request("GET", "/v1/models", headers={"Origin": PAGE})
    assert 200 == response.status_code
    assert {} == cors(response.headers)
    assert "Origin" not in response.headers.get("vary", "")


@pytest.mark.parametrize("origins", [(PAGE,), ("https://other.example", PAGE), ("*",)])
def test_a_listed_page_may_call(tmp_path: Path, origins: tuple[str, ...]) -> None:
    """The question needs no key, the call does; a script may read our headers."""
    bench = build(tmp_path, cors_origins=origins)
    answer = ask(bench)

    assert ("204", PAGE) == (answer["status"], answer["access-control-allow-origin"])
    assert "POST" in answer["access-control-allow-methods"]
    assert "authorization, content-type" == answer["access-control-allow-headers"]
    response = bench.request("GET", "/v1/models", headers={"Origin": PAGE})
    assert (200, PAGE) == (response.status_code, response.headers["access-control-allow-origin"])
    assert "x-request-id" in response.headers["access-control-expose-headers"]
    refused = bench.request("GET", "/v1/models", headers={"Origin": PAGE, "Authorization": ""})
    assert (401, PAGE) == (refused.status_code, refused.headers["access-control-allow-origin"])


@pytest.mark.parametrize("path", ["/v1/models", "/nope", "/"])
def test_every_answer_says_that_it_depends_on_the_origin(tmp_path: Path, path: str) -> None:
    """A cache must not hand one page's answer to another."""
    bench = build(tmp_path, cors_origins=(PAGE,))

    assert "Origin" in bench.request("GET", path).headers.get_list("vary", split_commas=True)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", PAGE + ".evil.example", PAGE.upper(), "null", ""]
)
def test_any_other_page_may_not(tmp_path: Path, origin: str) -> None:
    """Origins are compared as they are; browsers write them in one way."""
    bench = build(tmp_path, cors_origins=(PAGE,))

    assert {"status": "401"} == ask(bench, Origin=origin)
    assert {} == cors(bench.request("GET", "/v1/models", headers={"Origin": origin}).headers)


def test_a_key_is_never_sent_by_the_browser_itself(tmp_path: Path) -> None:
    """There are no cookies here: credentials are never allowed, also not for all pages."""
    bench = build(tmp_path, cors_origins=("*",))

    assert "access-control-allow-credentials" not in ask(bench)


@pytest.mark.parametrize(
    "origin", ["app.example.com", "https://app.example.com/", "https://*.example.com", "ftp://a"]
)
def test_what_is_no_origin_stops_the_start(origin: str) -> None:
    """A list that can never match is a mistake."""
    with pytest.raises(ValidationError):
        Settings(cors_origins=(origin,))
