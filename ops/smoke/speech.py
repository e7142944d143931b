"""Real transcriptions of the samples that come along: words, subtitles, events, speed.

Knows: what is said in the samples.
Must not know: how the server is reached.
"""

import json
import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from engine_build.verify import word_errors
from ops.client import Client, ClientError, failure
from ops.finding import Finding, failed, note, ok

SAMPLES = Path(__file__).parents[1] / "samples"
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """A recording and what is said in it, as its README has it."""

    file: str
    language: str
    text: str

    @property
    def path(self) -> Path:
        """Where it lies."""
        return SAMPLES / self.file


ENGLISH = Sample(
    "english.ogg",
    "english",
    "Good morning! This is a short test recording. The server turns speech into text, and nothing "
    "ever leaves your own machine.",
)
PORTUGUESE = Sample(
    "portuguese.ogg",
    "portuguese",
    "Bom dia! Esta é uma gravação de teste. O servidor escreve tudo que ouve, e nada sai da sua "
    "própria máquina.",
)
CUE = re.compile(
    r"^(\d\d):(\d\d):(\d\d)[.,](\d{3}) --> (\d\d):(\d\d):(\d\d)[.,](\d{3})$", re.MULTILINE
)


def spoken(client: Client, model: str, max_wer: float) -> Iterator[Finding]:
    """All of it; a refusal is a finding, too."""
    looks = [
        (ENGLISH.language, partial(_words, client, model, ENGLISH, max_wer)),
        (PORTUGUESE.language, partial(_words, client, model, PORTUGUESE, max_wer)),
        ("srt", partial(_subtitles, client, model, "srt")),
        ("vtt", partial(_subtitles, client, model, "vtt")),
        ("streaming", partial(_events, client, model)),
        ("speed", partial(_speed, client, model)),
    ]
    for check, look in looks:
        try:
            yield look()
        except ClientError as error:
            yield failed(check, str(error), _todo(error))
        except (KeyError, TypeError, ValueError):
            todo = "does a proxy change bodies? The server's own answer is complete"
            yield failed(check, "the answer is not what was asked for", todo)


def _todo(error: ClientError) -> str:
    if error.status == 403:
        return "use a key with the scope `transcribe`"
    if error.status in {429, 503}:
        return "it is full or the key's share is used up: ask again later"
    if error.refused:
        return "the message says it"
    return "look at the server's log, and run `ops doctor` where it runs"


def _words(client: Client, model: str, sample: Sample, max_wer: float) -> Finding:
    answer = client.transcribe(sample.path, "verbose_json", model=model).json()
    said, heard = _plain(sample.text), _plain(answer["text"])
    wer = word_errors(said, heard) / len(said)
    found = f"word error rate {wer:.2f}, language {answer['language']}"
    if wer > max_wer or answer["language"] != sample.language:
        todo = (
            f"expected {sample.language} and at most {max_wer:g}; heard «{answer['text'][:80]}». "
            "Is it the right model? `ops weights verify` and `ops engines verify` read every byte"
        )
        return failed(sample.language, found, todo)
    return ok(sample.language, found)


def _plain(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _subtitles(client: Client, model: str, response_format: str) -> Finding:
    text = client.transcribe(ENGLISH.path, response_format, model=model).text
    times = [[int(part) for part in match] for match in CUE.findall(text)]
    marks = [
        (h * 3600 + m * 60 + s) + ms / 1000 for cue in times for h, m, s, ms in (cue[:4], cue[4:])
    ]
    if not marks or any(later < earlier for earlier, later in pairwise(marks)):
        todo = "look at the server's log; does a proxy change bodies?"
        return failed(response_format, f"no subtitles, or out of order: {text[:40]!r}", todo)
    return ok(response_format, f"{len(times)} cues, to {marks[-1]:.1f} s")


def _events(client: Client, model: str) -> Finding:
    fields = {"model": model, "response_format": "json", "stream": "true"}
    response = client.post("/v1/audio/transcriptions", ENGLISH.path, fields)
    if response.status != 200:
        raise failure(response)
    events: list[dict[str, Any]] = [
        json.loads(line.removeprefix("data: "))
        for line in response.data.decode().splitlines()
        if line.startswith("data: ")
    ]
    deltas = "".join(event.get("delta", "") for event in events)
    if not events or deltas != events[-1].get("text"):
        todo = "look at the server's log; does a proxy change bodies?"
        return failed("streaming", f"the pieces of {len(events)} events are not the text", todo)
    return ok("streaming", f"{len(events)} events, whose pieces are the text")


def _speed(client: Client, model: str) -> Finding:
    """The median of a few, one after the other."""
    walls = []
    duration = 0.0
    for _ in range(ROUNDS):
        started = time.monotonic()
        answer = client.transcribe(ENGLISH.path, "verbose_json", model=model).json()
        walls.append(time.monotonic() - started)
        duration = float(answer["duration"])
    wall = statistics.median(walls)
    found = f"{wall:.2f} s for {duration:.1f} s of speech, median of {ROUNDS}"
    if wall > duration:
        todo = (
            "slower than speech: other load, few cores, or too large a model? docs/performance.md"
        )
        return note("speed", found, todo)
    return ok("speed", found)
