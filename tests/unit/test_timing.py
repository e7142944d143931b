from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from server.decoding.timing import (
    Timing,
    add_words,
    longest,
    merge_punctuation,
    place_words,
    tidy,
)
from server.engines.fake import byte_tokenizer
from server.types import Alignment, Segment

TOKENIZER = byte_tokenizer()
SEGMENT = Segment(0, 0, 0.0, 4.0, "", (), 0.0, -0.1, 1.0, 0.0)


def _word(text: str, start: float, end: float) -> Timing:
    return Timing(text, 1, start, end, 1.0)


def test_words_start_where_the_path_first_meets_them() -> None:
    """20 ms a frame: a word lasts from its first token's onset to the next word's."""
    tokens = TOKENIZER.encode(" oi tu")
    path = [(index, 10 * index) for index in range(len(tokens) + 1)]
    words = place_words(Alignment(tuple(path), (0.5,) * len(tokens)), tokens, "pt", TOKENIZER)
    assert [(" oi", 0.0, 0.6), (" tu", 0.6, 1.2)] == [(w.word, w.start, w.end) for w in words]
    assert [0.5, 0.5] == [word.probability for word in words]


def test_long_words_and_numerals_may_last_longer() -> None:
    """Twice the typical word; a year is said as several, and so is a German compound."""
    assert [0.8, 0.8, 1.6, 2.5] == [
        longest(word, 0.4) for word in (" ela", " 20.", " 1881.", " Lebensbeschreibungsfragen")
    ]


def test_punctuation_goes_to_its_word() -> None:
    """Opening marks go forward, closing marks back; the word keeps its times."""
    words = [
        _word(" “", 0.0, 0.1),
        _word("Sim", 0.1, 0.5),
        _word(",", 0.5, 0.9),
        _word(" ela", 1.0, 1.3),
        _word(".", 1.3, 2.0),
        _word("”", 2.0, 2.0),
    ]
    merged = merge_punctuation(words)
    assert [" “Sim,", " ela.”"] == [word.word for word in merged]
    assert [(0.1, 0.5), (1.0, 1.3)] == [(word.start, word.end) for word in merged]
    assert 6 == sum(word.n_tokens for word in merged)


@given(st.lists(st.sampled_from(["", " ela", " disse", ",", ".", " “", " ", "sim"]), max_size=8))
def test_no_token_is_lost_to_a_word_without_text(texts: list[str]) -> None:
    """Whisper has a token without text: its neighbours keep it, and no other word moves along."""
    words = [
        replace(_word(text, index, index + 1), token_probs=(index / 10,))
        for index, text in enumerate(texts)
    ]
    tidied, _ = tidy(words, 0.0)
    assert "".join(texts) == "".join(word.word for word in tidied)
    assert all(word.word and word.n_tokens == len(word.token_probs) for word in tidied)
    if any(texts):
        kept = [prob for word in tidied for prob in word.token_probs]
        assert [index / 10 for index in range(len(texts))] == kept


def test_a_space_alone_is_no_word() -> None:
    """In Chinese, Japanese or Thai it is cut off like a character; it opens the next word."""
    words = [_word("你好", 0.0, 0.5), _word(" ", 0.5, 0.6), _word("世界", 0.6, 1.0)]
    merged = merge_punctuation(words)
    assert [("你好", 0.0, 1), (" 世界", 0.6, 2)] == [(w.word, w.start, w.n_tokens) for w in merged]


def test_a_pause_is_not_part_of_a_full_stop() -> None:
    """What the alignment gives to a sentence's end is cut to twice a typical word."""
    words = [_word(" um", 0, 0.4), _word(" dois", 0.4, 0.8), _word(".", 0.8, 6.0)]
    words += [_word(" três", 6.0, 6.4)]
    tidied, typical = tidy(words, 10.0)
    assert 0.4 == round(typical, 2)
    assert (10.4, 10.8, 16.0) == (tidied[1].start, tidied[1].end, tidied[2].start)


def test_segments_and_words_agree_on_their_edges() -> None:
    """A segment starts with its first word and ends with its last."""
    tokens = TOKENIZER.encode(" oi tu")
    first = replace(SEGMENT, tokens=tokens[:3], start=10.0, end=11.0)
    second = replace(SEGMENT, tokens=tokens[3:], start=11.0, end=12.0)
    words = [Timing(" oi", 3, 0.2, 0.9, 1.0), Timing(" tu", 3, 1.2, 1.8, 1.0)]
    done = add_words(
        [first, second], words, time_offset=10.0, last_speech_end=10.0, eot=TOKENIZER.eot
    )
    assert [(10.2, 10.9), (11.2, 11.8)] == [(segment.start, segment.end) for segment in done]
    assert [[" oi"], [" tu"]] == [[word.word for word in segment.words] for segment in done]


@given(
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 30), st.sampled_from([" a", ",", " b."]))),
    st.floats(0, 10),
    st.floats(0, 20),
)
def test_words_never_go_back_in_time(
    spec: list[tuple[float, float, str]], start: float, length: float
) -> None:
    """Whatever the alignment says, words are in order and inside their segment."""
    words = [Timing(text, 1, min(a, b), max(a, b), 1.0) for a, b, text in spec]
    segment = replace(SEGMENT, start=start, end=start + length, tokens=(65,) * len(words))
    (done,) = add_words([segment], words, time_offset=0.0, last_speech_end=0.0, eot=TOKENIZER.eot)
    at = round(done.start, 2) - 0.01
    for word in done.words:
        assert at <= word.start <= word.end <= done.end + 0.01
        at = word.end - 0.01
