"""Errors in the caller's language."""

import pytest
from edge_bench import FILE, Bench, error_of, post
from hypothesis import given
from hypothesis import strategies as st

from server import texts
from server.http.language import preferred


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "en"),
        ("pt", "pt"),
        ("pt-BR", "pt"),
        ("PT-pt, en;q=0.9", "pt"),
        ("en, pt", "en"),
        ("pt, en", "pt"),
        ("de, pt;q=0.5", "pt"),
        ("en;q=0.4, pt;q=0.5", "pt"),
        ("pt;q=0", "en"),
        ("*", "en"),
        ("*, pt;q=0.5", "en"),
        ("fr", "en"),
        ("pt;q=nonsense", "en"),
        ("pt;q=nan", "en"),
        ("pt;q=7", "en"),
        ("pt ; q = 0.8", "pt"),
        ("ptx", "en"),
    ],
)
def test_the_heavier_language_counts(header: str, expected: str) -> None:
    """English where nothing that we speak is asked for."""
    assert expected == preferred(header)


@given(st.text(max_size=60))
def test_any_header_has_a_language(header: str) -> None:
    """A header is a stranger's word."""
    assert preferred(header) in ("en", "pt")


@pytest.mark.parametrize(
    ("headers", "tag", "words"),
    [
        ({}, "en", "The form has no part"),
        ({"Accept_Language": "pt-BR,pt;q=0.9,en;q=0.5"}, "pt-BR", "O formulário não tem"),
    ],
)
def test_an_error_is_in_the_callers_language(
    bench: Bench, headers: dict[str, str], tag: str, words: str
) -> None:
    """And says which that is; codes and fields are the same in all of them."""
    response = post(bench, ("model", "whisper-1"), **headers)

    assert (400, tag) == (response.status_code, response.headers["content-language"])
    assert "Accept-Language" in response.headers["vary"]
    assert error_of(response)["message"].startswith(words)
    assert ("invalid_value", "file") == (error_of(response)["code"], error_of(response)["param"])


def test_a_wrong_key_is_told_in_the_callers_language(bench: Bench) -> None:
    """That is said before any route is known."""
    response = bench.request(
        "GET", "/v1/models", headers={"Accept-Language": "pt", "Authorization": "Bearer sk-x"}
    )

    assert texts.WRONG_KEY.pt == error_of(response)["message"]


def test_a_value_that_is_not_allowed_is_told_with_what_is(bench: Bench) -> None:
    """The library that checks fields has no say in the words."""
    in_english = post(bench, ("temperature", "2"), FILE)
    in_portuguese = post(bench, ("temperature", "2"), FILE, Accept_Language="pt")

    assert "Send a number from 0 to 1." in error_of(in_english)["message"]
    assert "Envie um número de 0 a 1." in error_of(in_portuguese)["message"]


@pytest.mark.parametrize("route", ["transcriptions", "translations"])
def test_raw_audio_is_answered_with_the_curl_line_of_its_route(bench: Bench, route: str) -> None:
    """Whoever sends bytes without a form learns how it is done."""
    response = bench.request(
        "POST",
        f"/v1/audio/{route}",
        content=b"OggS",
        headers={"Content-Type": "audio/ogg"},
    )

    assert 415 == response.status_code
    assert (
        f"-F file=@audio.mp3 -F model=whisper-1 .../v1/audio/{route}"
        in (error_of(response)["message"])
    )
