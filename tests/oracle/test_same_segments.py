"""How a window's tokens become segments, and where the next window begins.

Two differences are wanted. Without any pair of timestamps openai-whisper begins the segment at
the window's start, and takes an opening timestamp for the end where none closes it; we take
each for what it is. And no segment of ours ends after the audio.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.decoding.segments import Split, split
from server.decoding.tokenizer import Tokenizer
from server.engines.fake import FakeEngine
from server.scheduler import Scheduler
from server.transcribe import Transcriber
from server.types import Audio, Hypothesis, Samples, TranscriptionOptions

BEGIN = 50_364
"""<|0.00|> of the multilingual models before large-v3."""
TEXT = (2425, 264, 293, 286)
"""« Hello», « the», « and», « I»."""
LAST_WINDOW = {"tokens": [BEGIN, TEXT[0], BEGIN + 1], "text": ""}

Answer = tuple[list[int], int]
"""Tokens, and how many 10 ms frames of audio the window has."""

lasting_fixtures = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """Tokens that keep Whisper's rules for timestamps, with a pair of them at least."""
    at = draw(st.integers(0, 50))
    tokens = [BEGIN + at]
    n_pieces = draw(st.integers(1, 5))
    for piece in range(n_pieces):
        tokens += draw(st.lists(st.sampled_from(TEXT), min_size=1, max_size=4))
        at += draw(st.integers(1, 180))
        if piece < n_pieces - 1:
            following = at + draw(st.integers(0, 100))
            tokens += [BEGIN + at, BEGIN + following]
            at = following
    endings = {"pair": [BEGIN + at, BEGIN + at], "single": [BEGIN + at], "open": []}
    allowed = list(endings) if n_pieces > 1 else ["pair"]
    tokens += endings[draw(st.sampled_from(allowed))]
    return tokens, draw(st.integers(2 * at, 3000))


def _is_left_open(answer: Answer) -> bool:
    """Its last timestamp is one of a pair; the first segment goes on for a second at least."""
    tokens, _ = answer
    first_end = next(token for token in tokens[1:] if token >= BEGIN)
    is_open = tokens[-1] < BEGIN or tokens[-2] >= BEGIN
    return is_open and first_end >= BEGIN + 50


@lasting_fixtures
@given(answer=answers())
def test_pairs_of_timestamps_make_the_same_segments(
    transcribe_by_heart: Callable[..., Any], tokenizer: Tokenizer, answer: Answer
) -> None:
    """Their times, their tokens, and the frame from which the window after them is decoded."""
    tokens, n_frames = answer
    first = {"tokens": tokens, "text": ""}
    result = transcribe_by_heart(n_frames, lambda call: LAST_WINDOW if call else first)
    theirs = [each for each in result["segments"] if each["seek"] == 0]
    resumed = [each["seek"] for each in result["segments"] if each["seek"] > 0]

    ours = split(tokens, tokenizer, n_frames / 100)
    _assert_same(theirs, ours)
    goes_on = n_frames if ours.complete else round(ours.resume * 100)
    assert (resumed or [n_frames]) == [goes_on]


@lasting_fixtures
@given(start=st.integers(0, 50), length=st.integers(1, 1400), padding=st.integers(0, 500))
def test_one_segment_ends_where_its_timestamp_says(
    transcribe_by_heart: Callable[..., Any],
    tokenizer: Tokenizer,
    start: int,
    length: int,
    padding: int,
) -> None:
    """It begins at its first timestamp here, at the window's start there."""
    tokens = [BEGIN + start, *TEXT, BEGIN + start + length]
    n_frames = min(2 * (start + length) + padding, 3000)
    result = transcribe_by_heart(n_frames, lambda _: {"tokens": tokens, "text": ""})
    (theirs,) = result["segments"]
    (ours,) = split(tokens, tokenizer, n_frames / 100).pieces
    assert (0.0, pytest.approx(start * 0.02)) == (theirs["start"], ours.start)
    assert theirs["end"] == pytest.approx(ours.end)
    assert theirs["tokens"] == list(ours.tokens)


@lasting_fixtures
@given(answer=answers(), cut=st.integers(1, 3000))
def test_nothing_else_changes_where_the_audio_ends_early(
    transcribe_by_heart: Callable[..., Any], tokenizer: Tokenizer, answer: Answer, cut: int
) -> None:
    """Times in the padding become the audio's end."""
    tokens, _ = answer
    first = {"tokens": tokens, "text": ""}
    result = transcribe_by_heart(cut, lambda call: LAST_WINDOW if call else first)
    theirs = [each for each in result["segments"] if each["seek"] == 0]
    for each in theirs:
        each["start"] = min(each["start"], cut / 100)
        each["end"] = min(each["end"], cut / 100)
    _assert_same(theirs, split(tokens, tokenizer, cut / 100))


@settings(lasting_fixtures, max_examples=30)
@given(script=st.lists(answers().filter(_is_left_open), min_size=1, max_size=3))
def test_what_was_left_open_is_decoded_from_the_same_place(
    transcribe_by_heart: Callable[..., Any], tokenizer: Tokenizer, script: list[Answer]
) -> None:
    """Window after window of a minute and a half, and the same segments.

    In a translation: of speech in its own language we look again at sound without a word.
    """
    windows = [{"tokens": tokens, "text": ""} for tokens, _ in script]
    end = {"tokens": [*TEXT[:1]], "text": ""}
    n_frames = 9000
    theirs = transcribe_by_heart(
        n_frames, lambda call: [*windows, *[end] * 9][call], task="translate"
    )

    answered = iter([*windows, *[end] * 9])
    engine = FakeEngine(lambda _: Hypothesis(tuple(next(answered)["tokens"]), -0.1))
    options = TranscriptionOptions(
        task="translate",
        mode="accurate",
        language="en",
        temperatures=(0.0,),
        compression_ratio_threshold=1e9,
    )
    noise = np.random.default_rng(2).normal(0, 3000, 160 * n_frames).astype(np.int16)
    transcriber = Transcriber(Scheduler(engine), tokenizer)
    ours = asyncio.run(transcriber.transcribe(Audio(noise), options))
    engine.close(1)
    assert [(each["seek"], each["tokens"]) for each in theirs["segments"]] == [
        (each.seek, list(each.tokens)) for each in ours.segments
    ]


@pytest.mark.parametrize("name", ["en-river", "pt-reuniao", "en-long", "pt-long"])
def test_speech_makes_the_same_segments(
    heard: Callable[[str], Any], tokenizer: Tokenizer, clips: Mapping[str, Samples], name: str
) -> None:
    """A real `whisper.transcribe`, window by window; ours are cut from the tokens it decoded."""
    found = heard(name)
    seeks = sorted({each["seek"] for each in found.segments})
    assert len(found.decoded) == len(seeks)
    for seek, tokens in zip(seeks, found.decoded, strict=True):
        duration = min(30.0, (len(clips[name]) // 160 - seek) / 100)
        theirs = [
            each | {edge: min(each[edge] - seek / 100, duration) for edge in ("start", "end")}
            for each in found.segments
            if each["seek"] == seek
        ]
        _assert_same(theirs, split(tokens, tokenizer, duration))


def _assert_same(theirs: list[dict[str, Any]], ours: Split) -> None:
    """Times and tokens."""
    assert [each["tokens"] for each in theirs] == [list(piece.tokens) for piece in ours.pieces]
    for their, piece in zip(theirs, ours.pieces, strict=True):
        assert their["start"] == pytest.approx(piece.start, abs=1e-6)
        assert their["end"] == pytest.approx(piece.end, abs=1e-6)
