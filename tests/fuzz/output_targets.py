"""Properties of what is written: subtitles and JSON that other programs read back as it was."""

import json
import re
from io import StringIO
from itertools import pairwise

import pysubs2
import webvtt
from hypothesis import strategies as st
from target import target

from server.cues import Cue, CueLimits, cues
from server.formats import render
from server.types import Segment, Transcript, Word

ODD = [
    "-->",
    "--->",
    "---->",
    "--",
    ">",
    "00:00:01,000 --> 00:00:02,000",
    "1",
    "2\n3",
    "\n\n",
    "\r",
    "\r\n",
    "\0",
    "\x1b[2J",
    "\x85",
    "\u2028",
    "\u2029",
    "\u202e",
    "\u2066",
    "\u200f",
    "\ufeff",
    "\u200b",
    "<b>",
    "</v>",
    "&",
    "&amp;",
    "<00:00:01.000>",
    "NOTE",
    "STYLE",
    "WEBVTT",
    "{\\an8}",
    "\\N",
    " ",
    "a",
    "fim.",
    "東京",
    "👩‍👩‍👧",
    "e\u0301" * 9,
    "x" * 90,
]
TEXTS = st.one_of(
    st.lists(st.sampled_from(ODD), max_size=8).map("".join),
    st.text(st.characters(codec="utf-8"), max_size=30),
)
TIMES = st.one_of(st.floats(0, 400_000), st.integers(0, 20).map(float), st.floats(0, 0.002))


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    """A segment with or without words; what an engine got wrong may run backwards."""
    start, end = sorted(draw(st.tuples(TIMES, TIMES)))
    texts = draw(st.lists(TEXTS, max_size=4))
    words: list[Word] = []
    if draw(st.booleans()):
        edges = [draw(TIMES) for _ in texts] if draw(st.booleans()) else [start] * len(texts)
        words = [
            Word(at, max(at, end), " " + text, 0.5) for at, text in zip(edges, texts, strict=True)
        ]
    return Segment(0, 0, start, end, " ".join(texts), (1,), 0.0, -0.5, 1.0, 0.1, tuple(words))


TRANSCRIPTS = st.builds(
    Transcript,
    task=st.just("transcribe"),
    language=st.sampled_from(["pt", "en", "xx"]),
    duration=TIMES,
    text=TEXTS,
    segments=st.lists(segments(), max_size=4).map(tuple),
)
LIMITS = st.builds(
    CueLimits,
    max_line_chars=st.integers(10, 200),
    max_lines=st.integers(1, 4),
    max_seconds=st.floats(0.001, 86_400),
)

SRT_CUE = re.compile(r"(\d+)\n(\d\d+:\d\d:\d\d,\d{3}) --> (\d\d+:\d\d:\d\d,\d{3})\n((?:.+\n)+)\n")
"""A cue by the letter: a number, two times, lines that are not empty, an empty line."""

VTT_CUE = re.compile(r"(\d\d+:\d\d:\d\d\.\d{3}) --> (\d\d+:\d\d:\d\d\.\d{3})\n((?:.+\n)+)\n")
CLOCK = re.compile(r"\d:\d+:\d+[.,]\d")
ESCAPES = re.compile(r"&(?!amp;|lt;|gt;)|[<>]")


def ms(clock: str) -> int:
    """Milliseconds of `01:02:03,456`."""
    hours, minutes, rest = clock.replace(",", ".").split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000 + round(float(rest) * 1_000)


def said(text: str) -> str:
    """What must not get lost: all but white space, and dashes before an arrow's head."""
    return re.sub(r"-+>", ">", "".join(text.split()))


def spoken(transcript: Transcript) -> str:
    """The text of the words, where a segment has some."""
    return "".join(
        "".join(word.word for word in segment.words) if segment.words else segment.text
        for segment in transcript.segments
    )


def _times(made: list[Cue]) -> list[tuple[int, int]]:
    return [(round(cue.start * 1_000), round(cue.end * 1_000)) for cue in made]


@target(TRANSCRIPTS, LIMITS)
def srt(transcript: Transcript, limits: CueLimits) -> None:
    """SRT is SRT by the letter, and pysubs2 finds the same cues."""
    text = render(transcript, "srt", cue_limits=limits).data.decode()
    found = SRT_CUE.findall(text)
    made = cues(transcript, limits)

    assert "".join(f"{n}\n{a} --> {b}\n{lines}\n" for n, a, b, lines in found) == text
    assert [int(number) for number, *_ in found] == list(range(1, len(made) + 1))
    assert [(ms(a), ms(b)) for _, a, b, _ in found] == _times(made)
    assert all("-->" not in lines for *_, lines in found)
    assert said("".join(lines for *_, lines in found)) == said(spoken(transcript))
    assert all(a <= b for a, b in pairwise([t for pair in _times(made) for t in pair]))
    end = "0\n9999:00:00,000 --> 9999:00:01,000\nend\n"  # pysubs2 drops a number at the very end
    read = pysubs2.SSAFile.from_string(text + end, format_="srt")
    # It reads two digits of hours, and takes any line with two times for a cue's.
    if all(b < 359_999_000 for _, b in _times(made)) and not CLOCK.search(spoken(transcript)):
        assert [(event.start, event.end) for event in read][: len(made)] == _times(made)


@target(TRANSCRIPTS, LIMITS)
def vtt(transcript: Transcript, limits: CueLimits) -> None:
    """WebVTT is that by the letter, nothing in it is markup, and webvtt-py finds the same cues."""
    text = render(transcript, "vtt", cue_limits=limits).data.decode()
    head, body = text[:8], text[8:]
    found = VTT_CUE.findall(body)
    made = cues(transcript, limits)

    assert head == "WEBVTT\n\n"
    assert "".join(f"{a} --> {b}\n{lines}\n" for a, b, lines in found) == body
    assert [(ms(a), ms(b)) for a, b, _ in found] == _times(made)
    assert not any(ESCAPES.search(lines) for *_, lines in found)
    read = webvtt.from_buffer(StringIO(text))
    assert [(c.start_time.in_milliseconds(), c.end_time.in_milliseconds()) for c in read] == _times(
        made
    )


@target(TRANSCRIPTS)
def as_json(transcript: Transcript) -> None:
    """JSON reads back as it was said, in one line of valid UTF-8."""
    for response_format in ("json", "verbose_json"):
        data = render(transcript, response_format, frozenset({"word", "segment"})).data  # type: ignore[arg-type]
        body = json.loads(data.decode())
        assert body["text"] == transcript.text.strip()
        assert b"\n" not in data
    assert [each["text"] for each in body["segments"]] == [
        each.text for each in transcript.segments
    ]
