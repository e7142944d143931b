"""Words in time: the alignment itself, and openai-whisper's repairs of it.

Wanted differences: our words never go back in time and never leave their segment, and a full stop
with a space before it ends a sentence too.
"""

from collections.abc import Callable, Mapping
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pytest
import torch
import whisper.timing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from whisper.timing import WordTiming, find_alignment, merge_punctuations

from server.decoding.timing import (
    APPENDED,
    PREPENDED,
    Timing,
    add_words,
    merge_punctuation,
    place_words,
)
from server.decoding.tokenizer import Tokenizer
from server.engines.ctranslate2 import CTranslate2Engine
from server.types import AlignmentRequest, LogMel, Segment, Task

EOT = 50_257
WORDS = [" um", " dois", "da", ".", ",", "?", "。", "!?", "...", " ...", "-", " -", " "]
WORDS += ['"', ' "', "'", " '", "”", " “", " (", "(", ")", " [", "]", " {", " ¿", "¿", "、", " ¿¡"]


@pytest.mark.parametrize(
    ("name", "text", "num_frames", "task"),
    [
        ("en-river", " After three weeks of rain, the sun came out.", 476, "transcribe"),
        (
            "en-long",
            " The old library stands at the end of the street. It opens",
            2800,
            "transcribe",
        ),
        ("pt-reuniao", " A reunião começa na quinta-feira de manhã.", 491, "transcribe"),
        ("pt-long", " A biblioteca antiga fica no fim da rua — “ela” abre.", 2799, "transcribe"),
        ("pt-chuva", " After three weeks the rain stopped.", 397, "translate"),
        ("pt-chuva", "三个星期后雨停了", 397, "transcribe"),
        ("pt-chuva", " Palavras que ninguém disse.", 397, "transcribe"),
        ("noise", " Obrigado.", 500, "transcribe"),
        ("silence", ".", 500, "transcribe"),
    ],
)
def test_words_are_found_at_the_same_times(
    engine: CTranslate2Engine,
    tokenizer: Tokenizer,
    peer: Any,
    peer_tokenizer: Callable[..., Any],
    windows: Mapping[str, LogMel],
    name: str,
    text: str,
    num_frames: int,
    task: Task,
) -> None:
    """To the frame of 20 ms, with the same probabilities, whether they were said or not."""
    language = "zh" if text.startswith("三") else name[:2] if name[2] == "-" else "pt"
    tokens = tokenizer.encode(text)
    request = AlignmentRequest(
        1, tokenizer.sot_sequence(language, task), tokens, num_frames, windows[name]
    )
    ours = place_words(engine.align(request).result(60), tokens, language, tokenizer)
    theirs = find_alignment(
        peer,
        peer_tokenizer(language=language, task=task),
        list(tokens),
        torch.from_numpy(windows[name]),
        num_frames,
    )
    # Theirs may have a word of no tokens at the end, for the end of the text.
    assert [(w.word, len(w.tokens)) for w in theirs] == [(w.word, w.n_tokens) for w in ours]
    for their, our in zip(theirs, ours, strict=True):
        assert their.start == pytest.approx(our.start, abs=1e-6)
        assert their.end == pytest.approx(our.end, abs=1e-6)
        assert their.probability == pytest.approx(our.probability, abs=1e-3)


@settings(max_examples=500)
@given(words=st.lists(st.sampled_from([*WORDS, " ."]), max_size=12))
def test_punctuation_goes_to_the_same_words(words: list[str]) -> None:
    """Opening marks to the word after, closing marks to the word before, times as they were."""
    theirs = [_their_timing(word, [at], at, at + 1) for at, word in enumerate(words)]
    ours = merge_punctuation([Timing(word, 1, at, at + 1, 1.0) for at, word in enumerate(words)])
    merge_punctuations(theirs, PREPENDED, APPENDED)
    assert [(w.word, len(w.tokens), w.start, w.end) for w in theirs if w.word] == [
        (w.word, w.n_tokens, w.start, w.end) for w in ours
    ]


@st.composite
def aligned_segments(draw: st.DrawFn) -> tuple[list[Timing], list[Segment], float]:
    """Words, the segments that they belong to, and the window's start.

    All times are in 64ths of a second, so that sums and comparisons are exact.
    """
    counts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    n_words = sum(counts)
    steps = st.one_of(st.integers(0, 40), st.integers(0, 300))
    lengths = draw(st.lists(steps, min_size=n_words, max_size=n_words))
    ends = [0, *accumulate(lengths)]
    words = [
        Timing(draw(st.sampled_from(WORDS)), draw(st.integers(1, 3)), start / 64, end / 64, 0.5)
        for start, end in pairwise(ends)
    ]
    offset = float(draw(st.integers(0, 3)) * 30)
    segments = []
    first = 0
    jitter = st.integers(-100, 100)
    for count in counts:
        own = words[first : first + count]
        start = max(0.0, own[0].start + draw(jitter) / 64)
        end = max(start, own[-1].end + draw(jitter) / 64)
        tokens = tuple(range(sum(word.n_tokens for word in own)))
        segments.append(
            Segment(0, round(offset * 100), offset + start, offset + end, "", tokens, 0, 0, 0, 0)
        )
        first += count
    return words, segments, offset


@settings(
    max_examples=500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(aligned=aligned_segments(), pause=st.integers(-2000, 0))
def test_words_and_segments_are_repaired_alike(
    monkeypatch: pytest.MonkeyPatch,
    peer_tokenizer: Callable[..., Any],
    aligned: tuple[list[Timing], list[Segment], float],
    pause: int,
) -> None:
    """Long words at pauses, at ends of sentences and at the edges of segments are cut the same.

    openai-whisper rounds before it repairs, we afterwards; here it does not round at all.
    """
    words, segments, offset = aligned
    last_speech_end = max(0.0, offset + pause / 64)
    alignment = [
        _their_timing(word.word, [0] * word.n_tokens, word.start, word.end) for word in words
    ]
    theirs = [
        {"seek": each.seek, "start": each.start, "end": each.end, "tokens": list(each.tokens)}
        for each in segments
    ]
    with monkeypatch.context() as patch:
        patch.setattr(whisper.timing, "find_alignment", lambda *_, **__: alignment)
        patch.setattr(whisper.timing, "round", lambda number, _: number, raising=False)
        whisper.timing.add_word_timestamps(
            segments=theirs,
            model=None,
            tokenizer=peer_tokenizer(),
            mel=None,
            num_frames=3000,
            last_speech_timestamp=last_speech_end,
        )
    ours = add_words(segments, words, time_offset=offset, last_speech_end=last_speech_end, eot=EOT)
    for their, our in zip(theirs, ours, strict=True):
        assert [word["word"] for word in their["words"]] == [word.word for word in our.words]
        assert their["start"] == our.start
        assert max(their["start"], their["end"]) == our.end
        for their_word, our_word in zip(_in_order(their), our.words, strict=True):
            assert their_word == pytest.approx((our_word.start, our_word.end), abs=0.0051)


def _in_order(segment: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Their words' times, kept inside the segment and from going back."""
    low, high = segment["start"], max(segment["start"], segment["end"])
    times = []
    for word in segment["words"]:
        start = float(np.clip(word["start"], low, high))
        low = float(np.clip(word["end"], start, high))
        times.append((start, low))
    return times


def _their_timing(word: str, tokens: list[int], start: float, end: float) -> WordTiming:
    return WordTiming(word, tokens, start, end, 0.5)
