"""Transcripts as OpenAI's bodies."""

import json
import math
import re
from dataclasses import replace
from io import StringIO

import pysubs2
import pytest
import webvtt
from hypothesis import example, given
from hypothesis import strategies as st

from server.cues import CueLimits, cues
from server.decoding.languages import LANGUAGES
from server.formats import RESPONSE_FORMATS, Granularity, ResponseFormat, render
from server.types import Dropped, Segment, Transcript, Word

SEGMENT_FIELDS = [
    "id",
    "seek",
    "start",
    "end",
    "text",
    "tokens",
    "temperature",
    "avg_logprob",
    "compression_ratio",
    "no_speech_prob",
]
"""OpenAI's, in OpenAI's order."""


def segment(start: float, end: float, text: str, number: int = 0) -> Segment:
    """A segment whose other fields do not matter."""
    return Segment(number, 0, start, end, text, (1, 2), 0.0, -0.5, 1.1, 0.02)


HELLO = Transcript(
    task="transcribe",
    language="en",
    duration=8.47,
    text=" Hello there. General <Kenobi> & co.",
    segments=(
        segment(0.0, 1.5, " Hello there."),
        segment(1.5, 3.25, " General <Kenobi> & co.", 1),
    ),
    words=(Word(0.0, 0.5, " Hello", 0.9), Word(0.5, 1.5, " there.", 0.8)),
)
EMPTY = Transcript(task="transcribe", language="en", duration=0.0, text="")


def text_of(transcript: Transcript, response_format: ResponseFormat) -> str:
    """The body as text."""
    return render(transcript, response_format).data.decode()


def verbose(transcript: Transcript, *granularities: Granularity) -> dict[str, object]:
    """The body of verbose_json."""
    wanted = frozenset(granularities or ("segment",))
    return dict(json.loads(render(transcript, "verbose_json", wanted).data))


def test_json_is_text_and_usage() -> None:
    """Spaces around the text go; seconds are rounded up as in OpenAI's examples."""
    assert {
        "text": "Hello there. General <Kenobi> & co.",
        "usage": {"type": "duration", "seconds": 9},
    } == json.loads(text_of(HELLO, "json"))


def test_what_was_left_out_is_told_on_request() -> None:
    """Spans and reasons, in verbose_json only when asked for."""
    dropped = replace(HELLO, dropped=(Dropped(2.0, 7.5, "no_voice"),))
    body = json.loads(render(dropped, "verbose_json", show_dropped=True).data)
    assert [{"start": 2.0, "end": 7.5, "reason": "no_voice"}] == body["x_dropped"]
    assert "x_dropped" not in verbose(dropped)


def test_a_long_segment_is_more_than_one_cue() -> None:
    """Never a block that fills the screen for half a minute; the limits are the caller's."""
    text = " palavra" * 40
    long = replace(HELLO, segments=(segment(0.0, 28.0, text),))
    limits = CueLimits(20, 1, 3.0)
    for response_format in ("srt", "vtt"):
        body = render(long, response_format, cue_limits=limits).data.decode()
        assert body.count(" --> ") >= 10
        assert max(len(line) for line in body.splitlines() if "-->" not in line) <= 20


def test_json_keeps_other_scripts_readable() -> None:
    """UTF-8, no escapes."""
    assert '"text":"Olá, 世界"' in text_of(replace(HELLO, text="Olá, 世界"), "json")


def test_verbose_json_has_openais_fields_in_openais_order() -> None:
    """The golden body."""
    body = verbose(HELLO)

    assert ["task", "language", "duration", "text", "segments", "usage"] == list(body)
    assert ("transcribe", "english", 8.47) == (body["task"], body["language"], body["duration"])
    assert body["segments"][0] == {  # type: ignore[index]
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": 1.5,
        "text": " Hello there.",
        "tokens": [1, 2],
        "temperature": 0.0,
        "avg_logprob": -0.5,
        "compression_ratio": 1.1,
        "no_speech_prob": 0.02,
    }
    assert SEGMENT_FIELDS == list(body["segments"][1])  # type: ignore[index]


def test_words_alone_leave_segments_out() -> None:
    """As OpenAI's example for `word` has it; a word has no space in front."""
    body = verbose(HELLO, "word")

    assert "segments" not in body
    assert [
        {"word": "Hello", "start": 0.0, "end": 0.5},
        {"word": "there.", "start": 0.5, "end": 1.5},
    ] == body["words"]


def test_words_and_segments_can_be_had_together() -> None:
    """Both granularities give both lists."""
    assert {"words", "segments"} <= verbose(HELLO, "word", "segment").keys()


def test_warnings_are_there_only_when_there_are_any() -> None:
    """The extra field is not OpenAI's, so it stays away when all went well."""
    assert "x_warnings" not in verbose(HELLO)
    assert ["audio_truncated"] == verbose(replace(HELLO, warnings=("audio_truncated",)))[
        "x_warnings"
    ]


@pytest.mark.parametrize(("code", "name"), sorted(LANGUAGES.items()))
def test_languages_are_told_by_name(code: str, name: str) -> None:
    """Codes inside, OpenAI's names outside."""
    assert name == verbose(replace(HELLO, language=code))["language"]


def test_a_translations_language_is_english() -> None:
    """Whatever was spoken: OpenAI's field is about the text that is handed out."""
    translation = verbose(replace(HELLO, task="translate", language="pt"))
    assert ("translate", "english") == (translation["task"], translation["language"])


def test_times_are_rounded_to_the_millisecond() -> None:
    """Sums of floats would show their binary tails."""
    body = verbose(replace(HELLO, segments=(segment(30 + 0.1, 30 + 0.7, " x"),)))

    assert (30.1, 30.7) == (body["segments"][0]["start"], body["segments"][0]["end"])  # type: ignore[index]


def test_not_a_number_is_a_fault_and_not_json() -> None:
    """Clients cannot parse NaN; better a 500 than a body that breaks them."""
    bad = replace(HELLO.segments[0], avg_logprob=math.nan)
    with pytest.raises(ValueError, match="JSON"):
        render(replace(HELLO, segments=(bad,)), "verbose_json")


def test_text_ends_with_a_line_break() -> None:
    """As OpenAI's does, so that `curl` leaves the prompt on a new line."""
    assert "Hello there. General <Kenobi> & co.\n" == text_of(HELLO, "text")


def test_srt_is_written_as_players_expect_it() -> None:
    """The golden file: numbers from 1, a comma before the milliseconds."""
    assert (
        "1\n00:00:00,000 --> 00:00:01,500\nHello there.\n\n"
        "2\n00:00:01,500 --> 00:00:03,250\nGeneral <Kenobi> & co.\n\n"
    ) == text_of(HELLO, "srt")


def test_vtt_escapes_what_would_be_markup() -> None:
    """The golden file: `<Kenobi>` would be a tag, `&` the start of an entity."""
    assert (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello there.\n\n"
        "00:00:01.500 --> 00:00:03.250\nGeneral &lt;Kenobi&gt; &amp; co.\n\n"
    ) == text_of(HELLO, "vtt")


@pytest.mark.parametrize(
    ("response_format", "body"),
    [
        ("json", '{"text":"","usage":{"type":"duration","seconds":0}}'),
        ("text", "\n"),
        ("srt", ""),
        ("vtt", "WEBVTT\n\n"),
    ],
)
def test_nothing_said_is_a_valid_answer(response_format: ResponseFormat, body: str) -> None:
    """Silence is no error in any format."""
    assert body == text_of(EMPTY, response_format)


@pytest.mark.parametrize("response_format", RESPONSE_FORMATS)
def test_content_types(response_format: ResponseFormat) -> None:
    """JSON where it is JSON, text where it is text: n8n reads others as binary files."""
    expected = {
        "json": "application/json",
        "verbose_json": "application/json",
        "vtt": "text/vtt; charset=utf-8",
    }.get(response_format, "text/plain; charset=utf-8")

    assert expected == render(HELLO, response_format).content_type


@pytest.mark.parametrize(
    ("seconds", "clock"),
    [
        (0.0004, "00:00:00,000"),
        (59.9996, "00:01:00,000"),
        (3599.9996, "01:00:00,000"),
        (3661.001, "01:01:01,001"),
        (360_000.0, "100:00:00,000"),
        (-0.001, "00:00:00,000"),
    ],
)
def test_clock_times_carry_over(seconds: float, clock: str) -> None:
    """Rounding to 1000 ms moves on to the next second, minute and hour."""
    cue = text_of(replace(HELLO, segments=(segment(seconds, seconds, "x"),)), "srt")

    assert f"1\n{clock} --> " == cue[: cue.index("> ") + 2]


@pytest.mark.parametrize("arrow", ["-->", "--->", "------>"])
def test_an_arrow_in_the_text_does_not_start_a_cue(arrow: str) -> None:
    """openai-whisper replaces the short one in the same way, and makes the short one of longer."""
    said = replace(HELLO, segments=(segment(0, 1, f"a {arrow} b"),))

    assert "\na -> b\n" in text_of(said, "srt")
    assert f"a {arrow[:-1]}&gt; b" in text_of(said, "vtt")


SPOKEN = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp", "Cf")), max_size=40
).filter(lambda text: text.strip() and "\\" not in text and "{" not in text)
"""What a transcript may hold; pysubs2 would read backslashes and braces as markup."""


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """Transcripts of some segments one after the other, times in whole milliseconds."""
    texts = draw(st.lists(SPOKEN, max_size=5))
    times = sorted(draw(st.lists(st.integers(0, 36_000_000), min_size=10, max_size=10)))
    segments = tuple(
        segment(times[2 * i] / 1000, times[2 * i + 1] / 1000, text, i)
        for i, text in enumerate(texts)
    )
    return replace(HELLO, segments=segments)


def shown(transcript: Transcript) -> list[tuple[int, int, str]]:
    """What subtitles should hold: milliseconds and lines with their spaces made single."""
    return [
        (
            round(cue.start * 1000),
            round(cue.end * 1000),
            "\n".join(" ".join(line.split()) for line in cue.lines),
        )
        for cue in cues(transcript, CueLimits())
    ]


@given(transcripts())
def test_a_vtt_reader_finds_what_was_written(transcript: Transcript) -> None:
    """Written by us, read by webvtt-py; it hands out text with entities as they are."""
    read = webvtt.from_buffer(StringIO(text_of(transcript, "vtt")))
    expected = [
        (start, end, text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
        for start, end, text in shown(transcript)
    ]

    assert expected == [
        (c.start_time.in_milliseconds(), c.end_time.in_milliseconds(), c.raw_text) for c in read
    ]


AFTER_THE_LAST = "0\n99:00:00,000 --> 99:00:01,000\nend\n"
"""pysubs2 takes a number that ends the file for that of a cue to come; here one does come."""


@given(transcripts())
@example(replace(HELLO, segments=(segment(0.0, 5.0, "o" * 41 + " 1984"),)))
def test_an_srt_reader_finds_what_was_written(transcript: Transcript) -> None:
    """Written by us, read by pysubs2; a number on the last line is text like any other."""
    read = pysubs2.SSAFile.from_string(
        text_of(transcript, "srt") + AFTER_THE_LAST,
        format_="srt",
        keep_html_tags=True,
        keep_unknown_html_tags=True,
    )
    found = [(event.start, event.end, event.text.replace("\\N", "\n")) for event in read]
    expected = [(s, e, re.sub("-{2,}>", "->", text)) for s, e, text in shown(transcript)]

    assert [*expected, (356_400_000, 356_401_000, "end")] == found
