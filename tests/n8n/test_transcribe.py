"""A real n8n transcribes and translates, over http and through a real Traefik over https."""

import re

import pytest
from n8n_process import N8n
from place import NewN8n

RIVER = "the sun came out and the children ran"
BY = pytest.mark.parametrize("by", ["http", "https"])


def letters(text: str) -> str:
    """Only words, in lower case; no numbers of cues or times."""
    return " ".join(re.findall(r"[^\W\d]+", text.lower()))


@BY
def test_the_openai_node_transcribes(n8n: N8n, by: str) -> None:
    """The item has the text."""
    assert RIVER in letters(n8n.execute(f"transcribe-{by}").output("OpenAI")["text"])


@BY
def test_the_openai_node_translates(n8n: N8n, by: str) -> None:
    """Portuguese in, English out."""
    text = n8n.execute(f"translate-{by}").output("OpenAI")["text"]

    assert {"the", "a", "of", "it", "and"} & set(letters(text).split())


def test_the_nodes_options_arrive(n8n: N8n) -> None:
    """A language and a temperature; the text is Portuguese."""
    text = n8n.execute("options").output("OpenAI")["text"]

    assert {"a", "o", "e", "de", "que"} & set(letters(text).split())


@BY
def test_a_binary_without_a_file_name(n8n: N8n, by: str) -> None:
    """As code makes one: the file's part has no name, and is a file all the same."""
    run = n8n.execute(f"nameless-{by}")

    assert "fileName" not in run.items("Nameless")[0]["binary"]["data"]
    assert RIVER in letters(run.output("OpenAI")["text"])


@BY
def test_http_request_gets_every_format(n8n: N8n, by: str) -> None:
    """Objects for the two JSON formats, a string for the others; words have times."""
    run = n8n.execute(f"formats-{by}")
    verbose = run.output("verbose_json")
    times = [time for word in verbose["words"] for time in (word["start"], word["end"])]

    assert RIVER in letters(run.output("json")["text"])
    assert RIVER in letters(verbose["text"])
    assert 20 < len(times)
    assert times == sorted(times)
    for name, start in (("text", ""), ("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n00:00:0")):
        assert run.output(name)["data"].startswith(start)
        assert RIVER in letters(run.output(name)["data"])


def test_a_certificate_that_n8n_does_not_know(new_n8n: NewN8n) -> None:
    """Without NODE_EXTRA_CA_CERTS the reason is told."""
    title, description = new_n8n(trusting=False).execute("transcribe-https").error

    assert title.startswith("unable to verify the first certificate"), (title, description)


def test_a_base_url_that_redirects(n8n: N8n) -> None:
    """docs/n8n.md names what is shown: the node follows no redirect."""
    title, description = n8n.execute("redirected").error

    assert re.match(r"30[18] - ", title), (title, description)
