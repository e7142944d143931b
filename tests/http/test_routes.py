"""Routes, methods, common headers and probes."""

import pytest
from edge_bench import FILE, FORM_TYPE, KEY, Bench, build, error_of, form, post
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.http.middleware import canonical

ALIASES = {
    "/v1/models": "/v1/models",
    "/models": "/v1/models",
    "/v1//models": "/v1/models",
    "//v1/models/": "/v1/models",
    "/v1/models/": "/v1/models",
    "/models/a/b": "/v1/models/a/b",
    "/audio/transcriptions": "/v1/audio/transcriptions",
    "/v1//audio/transcriptions": "/v1/audio/transcriptions",
    "//audio//translations//": "/v1/audio/translations",
    "/openai/deployments/whisper/audio/transcriptions": "/v1/audio/transcriptions",
    "/openai/v1/audio/translations": "/v1/audio/translations",
    "/openai/models": "/v1/models",
    "/": "/",
    "//": "/",
    "/healthz/": "/healthz",
    "/modelsx": "/modelsx",
    "/openaiaudio/x": "/openaiaudio/x",
    "/v1": "/v1",
    "/v1/v1/models": "/v1/v1/models",
}


@pytest.mark.parametrize(("path", "expected"), ALIASES.items())
def test_paths_are_brought_to_one_form(path: str, expected: str) -> None:
    """Clients join base URLs and paths in many ways; none is answered with a redirect."""
    assert expected == canonical(path)


SLASHES = st.text(alphabet="/", min_size=1, max_size=3)
PATHS = st.builds(
    "".join,
    st.lists(
        st.one_of(
            SLASHES,
            st.sampled_from(["v1", "audio", "transcriptions", "translations", "openai", "models"]),
            st.sampled_from(["deployments", "whisper", "..", ".", "%2f", "http:", "example.com"]),
        ),
        max_size=9,
    ).map(lambda parts: ["/", *parts]),
)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(PATHS, st.sampled_from([{}, {"X-Forwarded-Proto": "http"}, {"Authorization": ""}]))
def test_no_upload_is_ever_redirected(bench: Bench, path: str, headers: dict[str, str]) -> None:
    """n8n follows no redirect of a POST, and others lose the body: served, or refused."""
    response = bench.request(
        "POST", "http://server" + path, content=form(FILE), headers={**FORM_TYPE, **headers}
    )

    assert response.status_code in {200, 401, 404, 405, 429}  # many bad keys in a minute
    assert "location" not in response.headers


@pytest.mark.parametrize(
    ("deployment", "fields", "expected"),
    [
        ("small", [], "small"),
        ("my-whisper", [], "base"),
        ("small", [("model", "base")], "base"),
        ("my-whisper", [("model", "small")], "small"),
        ("whisper-1", [], "base"),
    ],
)
def test_azures_deployment_may_name_the_model(
    bench: Bench, deployment: str, fields: list[tuple[str, str]], expected: str
) -> None:
    """Where the form names none; elsewhere it may be called anything."""
    bench = build(bench.settings.spool_dir, models=("base", "small"))
    bench.transcribers["small"] = bench.transcriber
    path = f"/openai/deployments/{deployment}/audio/transcriptions?api-version=2024-06-01"

    assert 200 == post(bench, *fields, FILE, path=path).status_code
    assert expected == bench.lines()[0]["model"]


@pytest.mark.parametrize("path", ["/openai/models", "/openai/v1/models", "/openai/models/base"])
def test_azures_models(bench: Bench, path: str) -> None:
    """Its older and its newer path, with its own header."""
    headers = {"Authorization": "", "api-key": KEY.key}
    response = bench.request("GET", path + "?api-version=2024-06-01", headers=headers)

    assert 200 == response.status_code


@pytest.mark.parametrize("path", ["/audio/transcriptions", "/v1//audio/transcriptions/"])
def test_an_upload_is_taken_at_every_alias(bench: Bench, path: str) -> None:
    """Status 200 at once: a redirect would lose the body."""
    assert 200 == post(bench, FILE, path=path).status_code


def test_the_models_are_listed_with_the_alias(bench: Bench) -> None:
    """OpenAI's list; n8n tests its credentials with it."""
    response = bench.request("GET", "/v1/models")

    entry = {"object": "model", "created": 1_700_000_000, "owned_by": "sussurro"}
    assert {
        "object": "list",
        "data": [{"id": "base", **entry}, {"id": "whisper-1", **entry}],
    } == response.json()


def test_a_model_may_have_a_slash_in_its_name(bench: Bench) -> None:
    """Hub-style names can be asked for, escaped or not."""
    bench = build(bench.settings.spool_dir, models=("org/model",))

    for path in ("/v1/models/org/model", "/v1/models/org%2Fmodel"):
        assert "org/model" == bench.request("GET", path).json()["id"]


def test_an_unknown_model_is_not_found(bench: Bench) -> None:
    """OpenAI's code for it."""
    response = bench.request("GET", "/v1/models/gpt-9")

    assert 404 == response.status_code
    assert "model_not_found" == error_of(response)["code"]


def test_an_unknown_url_is_not_found(bench: Bench) -> None:
    """OpenAI's body, not the framework's."""
    response = bench.request("GET", "/v1/chat/completions")

    assert 404 == response.status_code
    assert ("unknown_url", "invalid_request_error") == (
        error_of(response)["code"],
        error_of(response)["type"],
    )


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/audio/transcriptions", {"POST", "OPTIONS"}),
        ("DELETE", "/v1/models", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/", {"GET", "HEAD", "OPTIONS"}),
        ("BREW", "/v1/models", {"GET", "HEAD", "OPTIONS", "POST"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    bench: Bench, method: str, path: str, allowed: set[str]
) -> None:
    """405 with `Allow`, also for methods that do not exist."""
    response = bench.request(method, path)

    assert 405 == response.status_code
    assert allowed == set(response.headers["allow"].split(", "))
    assert "method_not_allowed" == error_of(response)["code"]


def test_options_tells_the_methods(bench: Bench) -> None:
    """No body, just `Allow`."""
    response = bench.request("OPTIONS", "/v1/audio/transcriptions")

    assert (200, "POST", b"") == (response.status_code, response.headers["allow"], response.content)


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/v1/models", "/v1/models/base"])
def test_head_is_get_without_a_body(bench: Bench, path: str) -> None:
    """Monitors ask with HEAD."""
    response = bench.request("HEAD", path)

    assert (200, b"") == (response.status_code, response.content)
    assert (
        bench.request("GET", path).headers["content-length"] == response.headers["content-length"]
    )


def test_the_root_says_what_this_is(bench: Bench) -> None:
    """Status and links, but no version; the links work. Jobs are off here, which they say."""
    body = bench.request("GET", "/").json()

    assert ("ok", ["status", "name", "links"]) == (body["status"], list(body))
    statuses = {
        name: bench.request("GET", link).status_code for name, link in body["links"].items()
    }
    assert {"transcriptions": 405, "translations": 405, "jobs": 400} == {
        name: status for name, status in statuses.items() if status != 200
    }


@pytest.mark.parametrize("path", ["/", "/v1/models", "/nope", "/v1/audio/transcriptions"])
def test_every_answer_has_the_common_headers(bench: Bench, path: str) -> None:
    """OpenAI's SDKs expose the request id; the others are expected to be there."""
    headers = bench.request("GET", path).headers

    assert headers["x-request-id"].startswith("req_")
    assert "2020-10-01" == headers["openai-version"]
    assert int(headers["openai-processing-ms"]) >= 0
    assert ("no-store", "nosniff", "no-referrer") == tuple(
        headers[name] for name in ("cache-control", "x-content-type-options", "referrer-policy")
    )
    assert "default-src 'none'; frame-ancestors 'none'" == headers["content-security-policy"]


@pytest.mark.parametrize("own", ["abc-123_X", "a" * 128])
def test_a_callers_own_request_id_is_kept(bench: Bench, own: str) -> None:
    """So that logs on both sides can be joined."""
    response = bench.request("GET", "/", headers={"x-request-id": own})

    assert own == response.headers["x-request-id"]
    assert own == bench.lines()[0]["request_id"]


@pytest.mark.parametrize("own", ["", "a" * 129, "a b", "x\tinjected", "ä".encode()])
def test_an_odd_request_id_is_replaced(bench: Bench, own: str | bytes) -> None:
    """Whatever goes into the log and back to the caller is harmless."""
    response = bench.request("GET", "/", headers=[(b"x-request-id", own)])

    assert response.headers["x-request-id"].startswith("req_")


def test_a_query_is_ignored_whatever_it_holds(bench: Bench) -> None:
    """Azure's SDK sends one; a broken one does no harm."""
    assert 200 == bench.request("GET", "/v1/models?api-version=2024-06-01&x=%ff%fe").status_code


def test_ready_when_all_is_well(bench: Bench) -> None:
    """The probe that a proxy asks; it says what serves, and no path."""
    serving = {"engine": "ctranslate2", "build": "weights", "why": "no GPU"}
    assert (200, {"status": "ok", "engines": {"base": serving}}) == (
        (response := bench.request("GET", "/readyz")).status_code,
        response.json(),
    )


def test_not_ready_while_the_models_load(bench: Bench) -> None:
    """Alive, but not to be sent work; an upload is refused before its form is looked at."""
    bench.transcribers.clear()
    no_file = ("model", "base")

    assert 200 == bench.request("GET", "/healthz").status_code
    for response in (bench.request("GET", "/readyz"), post(bench, no_file)):
        assert 503 == response.status_code
        assert "not_ready" == error_of(response)["code"]
        assert int(response.headers["retry-after"]) >= 1


def test_not_ready_when_an_engine_has_failed(bench: Bench) -> None:
    """The model's name is told; it is no secret."""
    bench.transcriber.engine.healthy = False
    response = bench.request("GET", "/readyz")

    assert 503 == response.status_code
    assert "base" in error_of(response)["message"]


def test_not_ready_when_the_media_loader_cannot_be_started_again(bench: Bench) -> None:
    """Without it no file can be read."""
    bench.loader.healthy = bench.loader.revivable = False

    assert 503 == bench.request("GET", "/readyz").status_code


def test_the_probe_starts_a_dead_media_loader_again(bench: Bench) -> None:
    """A proxy sends nothing to a server that is not ready, so nothing else would."""
    bench.loader.healthy = False

    assert 200 == bench.request("GET", "/readyz").status_code
    assert bench.loader.healthy


def test_not_ready_while_draining(bench: Bench) -> None:
    """Who has not asked yet still gets an answer; then new work is refused, life goes on."""
    bench.readiness.drain()
    assert 503 == bench.request("GET", "/readyz").status_code
    assert 200 == post(bench, FILE).status_code

    bench.readiness.close()
    assert 200 == bench.request("GET", "/healthz").status_code
    for response in (bench.request("GET", "/readyz"), post(bench, FILE)):
        assert 503 == response.status_code
        assert "draining" == error_of(response)["code"]


def test_a_request_is_one_line_in_the_log(bench: Bench) -> None:
    """The route's template, never the path; who called; what came of it."""
    bench.request("GET", "/v1/models/secret-name")
    (line,) = bench.lines()

    assert ("/v1/models/{model:path}", "tester", 404, "model_not_found") == (
        line["route"],
        line["key_id"],
        line["status"],
        line["error"],
    )
    assert KEY.key not in bench.log.getvalue()


def test_every_line_of_a_request_has_its_id(bench: Bench) -> None:
    """The caller's own, in the answer too; and not in the lines of the next request."""
    bench.loader.error = RuntimeError("secret")
    answers = [post(bench, FILE, x_request_id="mine-1"), post(bench, FILE)]

    ids = [answer.headers["x-request-id"] for answer in answers]
    assert "mine-1" == ids[0] != ids[1]
    assert ids == [line["request_id"] for line in bench.lines("fault")]
    assert ids == [line["request_id"] for line in bench.lines("request")]
