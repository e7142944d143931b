"""The page at `/`, without a browser: who gets it, what fences it in, what its files hold."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from edge_bench import Bench, build

from server.http.page import FOLDER, NAMES, POLICY, wants_page

BROWSERS = {
    "Chromium": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
    "*/*;q=0.8",
    "Firefox": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Safari": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "curl that asks for it": "text/html",
    "rather than JSON": "application/json;q=0.5, text/html",
}
PROGRAMS = {
    "curl": "*/*",
    "a script": "application/json",
    "none": "",
    "n8n's HTTP Request": "application/json,text/html,application/xhtml+xml,application/xml,"
    "text/*;q=0.9, image/*;q=0.8, */*;q=0.7",
    "any text": "text/*",
    "refused": "text/html;q=0",
    "unreadable": "text/html;q=x",
    "junk": ";;,=,text/html;q=0.1;;,application/json;q=1",
}
LIMIT_BYTES = 100_000
ANONYMOUS = {"Authorization": ""}


@pytest.mark.parametrize("accept", BROWSERS.values(), ids=BROWSERS)
def test_browsers_get_the_page(bench: Bench, accept: str) -> None:
    """Without a key; the page asks for one itself."""
    response = bench.request("GET", "/", headers={**ANONYMOUS, "Accept": accept})

    assert (200, "text/html; charset=utf-8") == (
        response.status_code,
        response.headers["content-type"],
    )
    assert "<h1>" in response.text


@pytest.mark.parametrize("accept", PROGRAMS.values(), ids=PROGRAMS)
def test_programs_get_json(bench: Bench, accept: str) -> None:
    """As before there was a page; a cache must know that there are two answers."""
    response = bench.request("GET", "/", headers={"Accept": accept})

    assert ("ok", "Accept, Accept-Language") == (
        response.json()["status"],
        response.headers["vary"],
    )


@pytest.mark.parametrize(
    ("accepted", "tag", "word"),
    [("pt-BR,en;q=0.5", "pt-BR", "Transcrever"), ("fr", "en", "Transcribe")],
)
def test_it_comes_in_the_browsers_language(
    bench: Bench, accepted: str, tag: str, word: str
) -> None:
    """Its texts are in it, so that it can be read before its script runs."""
    headers = {"Accept": "text/html", "Accept-Language": accepted}
    response = bench.request("GET", "/", headers=headers)

    assert tag == response.headers["content-language"]
    assert f'<html lang="{tag}">' in response.text
    assert f">{word}</button>" in response.text
    assert 'data-text="transcribe">' in response.text


@pytest.mark.parametrize("path", ["/", *(f"/page/{name}" for name in NAMES)])
def test_every_file_is_fenced_in(bench: Bench, path: str) -> None:
    """Nothing is loaded from elsewhere, nothing frames it, nobody guesses at types."""
    response = bench.request("GET", path, headers={**ANONYMOUS, "Accept": "text/html"})
    headers = response.headers

    assert 200 == response.status_code
    assert POLICY == headers["content-security-policy"]
    assert "microphone=(self), camera=()" in headers["permissions-policy"]
    assert ("nosniff", "no-referrer", "same-origin") == (
        headers["x-content-type-options"],
        headers["referrer-policy"],
        headers["cross-origin-opener-policy"],
    )


def test_the_policy_allows_next_to_nothing() -> None:
    """Deny by default; own files, and blobs for the recording that is played."""
    rules = {name: values for name, *values in (rule.split() for rule in POLICY.split("; "))}

    assert ["'none'"] == rules.pop("default-src")
    assert ["blob:"] == rules.pop("media-src")
    assert ["'script'"] == rules.pop("require-trusted-types-for")
    assert {"'self'", "'none'"} == {value for values in rules.values() for value in values}


@pytest.mark.parametrize("path", ["/", "/page/app.js"])
def test_it_is_sent_once(bench: Bench, path: str) -> None:
    """A browser that has it is told so, until it changes."""
    first = bench.request("GET", path, headers={"Accept": "text/html"})
    known = {"Accept": "text/html", "If-None-Match": first.headers["etag"]}
    again = bench.request("GET", path, headers=known)
    other = bench.request("GET", path, headers={**known, "If-None-Match": '"other"'})

    assert ("no-cache", 200, 304, b"", 200) == (
        first.headers["cache-control"],
        first.status_code,
        again.status_code,
        again.content,
        other.status_code,
    )


def test_both_languages_have_pages_of_their_own(bench: Bench) -> None:
    """Else a browser that changes its language would be told that it has the page."""
    tags = {
        bench.request("GET", "/", headers={"Accept": "text/html", "Accept-Language": lang}).headers[
            "etag"
        ]
        for lang in ("en", "pt")
    }
    assert 2 == len(tags)


@pytest.mark.parametrize("name", ["../page.py", "index.html", "x.js", "%2e%2e/page.py", ""])
def test_there_are_no_other_files(bench: Bench, name: str) -> None:
    """Names are looked up, never joined to a folder; and what is not there needs a key."""
    path = f"http://server/page/{name}"

    assert 401 == bench.request("GET", path, headers=ANONYMOUS).status_code
    assert 404 == bench.request("GET", path).status_code


@pytest.mark.parametrize("path", ["/", "/page/app.js"])
def test_it_can_be_off(bench: Bench, path: str) -> None:
    """Then `/` is JSON for all, and its files are not there."""
    bench = build(bench.settings.spool_dir, page="off")
    response = bench.request("GET", path, headers={**ANONYMOUS, "Accept": "text/html"})

    if path == "/":
        assert "ok" == response.json()["status"]
        assert "vary" not in response.headers
    else:
        assert 401 == response.status_code
        assert 404 == bench.request("GET", path).status_code


def test_it_is_small(bench: Bench) -> None:
    """All of it, as it is sent."""
    sizes = [len(bench.request("GET", f"/page/{name}").content) for name in NAMES]
    page = bench.request("GET", "/", headers={"Accept": "text/html", "Accept-Language": "pt"})

    assert sum(sizes) + len(page.content) < LIMIT_BYTES


def sources() -> str:
    """The page's HTML and scripts."""
    return "\n".join(
        path.read_text(encoding="utf-8")
        for path in FOLDER.iterdir()
        if path.suffix in (".js", ".html")
    )


def test_both_languages_are_complete() -> None:
    """The same texts with the same values, none empty, none the other's, and each is used."""
    texts = json.loads((FOLDER / "texts.json").read_text(encoding="utf-8"))
    english, portuguese = texts["en"], texts["pt"]
    same = {"api", "fail_other", "facts"}

    assert ["en", "pt"] == [*texts]
    assert [*english] == [*portuguese]
    for name, text in english.items():
        assert text.strip()
        assert Counter(re.findall(r"\{\w+\}", text)) == Counter(
            re.findall(r"\{\w+\}", portuguese[name])
        )
        assert (text == portuguese[name]) == (name in same), name
        assert f'"{name}"' in sources() or f" {name}:" in sources(), name


def test_no_text_is_missing() -> None:
    """Whatever the page or a script shows has its text."""
    texts = json.loads((FOLDER / "texts.json").read_text(encoding="utf-8"))["en"]
    asked = re.findall(r'data-(?:text|label)="(\w+)"', sources())
    asked += re.findall(r'\bsay\("(\w+)"', sources())
    asked += re.findall(r'\bshow\([^;]*?, "(\w+)"', sources())
    asked += re.findall(r'\bnew Failure\("(no_\w+|microphone_\w+)"', sources())
    asked += re.findall(r'"(fail_\w+)"', sources())

    assert len(asked) > 50
    assert set() == set(asked) - texts.keys()


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_a_file_asks_nobody_else_and_keeps_nothing(path: Path) -> None:
    """No address, no inline style or handler, no storage, no HTML made of text."""
    text = re.sub(r'xmlns="[^"]*"', "", path.read_text(encoding="utf-8"))

    assert not re.search(r"https?://|[\"'(]//\w|\burl\(|@import", text)
    assert not re.search(r"\sstyle=|\son\w+=[\"']|<script>|<style", text)
    assert not re.search(r"localStorage|sessionStorage|indexedDB|\.cookie\b|serviceWorker", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)
    assert len(text.splitlines()) <= 170


@pytest.mark.parametrize(
    ("accept", "expected"),
    [("text/html", True), ("TEXT/HTML ; Q=0.3", True), ("text/html;level=1;q=0", False)],
)
def test_names_have_no_case(accept: str, expected: bool) -> None:
    """As RFC 9110 has it, parameters included."""
    assert expected is wants_page(accept)
