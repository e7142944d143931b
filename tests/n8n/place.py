"""What n8n talks to, and everything that it is asked to do there.

Knows: the workflows of all tests, by ids that say what they do.
Must not know: how servers are started, or what comes of a workflow.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge import Authority
from n8n_process import Json, N8n
from server_process import KEY
from workflows import credential, http_request, openai, read_file, without_a_name, workflow

FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
NewN8n = Callable[..., N8n]


@dataclass(frozen=True, slots=True)
class Place:
    """Everything that n8n talks to."""

    files: Path
    bases: Mapping[str, str]
    """Base URLs by the name of their credential."""
    failing_port: int
    authority: Authority


def everything(place: Place) -> Iterator[Json]:
    """All workflows; their ids say what they do."""
    river = read_file(place.files / "en-river.ogg")
    chuva = read_file(place.files / "pt-chuva.ogg")
    long = read_file(place.files / "long.wav")
    for by in ("http", "https"):
        url = place.bases[by] + "/audio/transcriptions"
        words = {"timestamp_granularities[]": "word"}
        forms = [
            http_request(
                url,
                by,
                {"response_format": name} | (words if name == "verbose_json" else {}),
                name=name,
            )
            for name in FORMATS
        ]
        yield workflow(f"transcribe-{by}", river, openai("transcribe", by))
        yield workflow(f"translate-{by}", chuva, openai("translate", by))
        yield workflow(f"formats-{by}", river, forms)
        yield workflow(f"nameless-{by}", river, without_a_name(), openai("transcribe", by))
        yield workflow(f"long-{by}", long, openai("transcribe", f"slow-{by}"))
    chosen = openai("transcribe", "http", language="pt", temperature=0.2)
    yield workflow("options", chuva, chosen)
    yield workflow("redirected", river, openai("transcribe", "redirected"))
    slow = place.bases["slow-http"] + "/audio/transcriptions"
    yield workflow("silent", long, http_request(slow, "slow-http", {"response_format": "srt"}))
    failing = read_file(place.files / "meeting.wav")
    url = place.bases["failing"] + "/audio/transcriptions"
    yield workflow("failing", failing, openai("transcribe", "failing"))
    yield workflow("wrong-key", failing, openai("transcribe", "wrong-key"))
    yield workflow("no-file", http_request(url, "failing", {"model": "whisper-1"}, with_file=False))


def credentials(place: Place) -> Iterator[Json]:
    """One for each base URL, and one with a wrong key."""
    for name, url in place.bases.items():
        yield credential(name, KEY.key, url)
    yield credential("wrong-key", "sk-wrong", place.bases["failing"])
