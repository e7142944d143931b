from hypothesis import given
from hypothesis import strategies as st

from server.decoding.sentences import (
    MAX_DURATION,
    STITCH_SECONDS,
    group_words,
    stop_at_a_gap,
)
from server.decoding.timing import Timing


def _words(text: str, seconds: float = 0.5, start: float = 0.0) -> list[Timing]:
    return [
        Timing(" " + word, 1, start + index * seconds, start + (index + 1) * seconds, 0.9)
        for index, word in enumerate(text.split())
    ]


def _texts(words: list[Timing]) -> list[str]:
    return ["".join(word.word for word in group).strip() for group in group_words(words)]


def test_sentences_end_segments() -> None:
    """A full stop, a question mark or an exclamation mark ends a segment."""
    words = _words("Tudo bem com você? Eu estou muito bem. Que coisa boa!")
    assert ["Tudo bem com você?", "Eu estou muito bem.", "Que coisa boa!"] == _texts(words)


def test_abbreviations_and_numbers_do_not() -> None:
    """«Sr.», «3.» and «i.e.» stay inside their sentence."""
    for text in ("O meu amigo Sr. Silva chegou.", "O item 3. foi aceito.", "The letter, i.e. one."):
        assert [text] == _texts(_words(text))


def test_a_pause_ends_a_segment() -> None:
    """A second without a word is the end, whatever the punctuation."""
    words = _words("espere um pouco") + _words("já volto", start=3.0)
    assert ["espere um pouco", "já volto"] == _texts(words)


def test_a_long_sentence_is_cut_after_a_clause() -> None:
    """No segment is longer than 15 s where there is a place to cut."""
    text = "a b c d e f g h i j k l m n o p q r s, t u v w x y z a b c d e f g h i j k l."
    groups = group_words(_words(text))
    assert " s," == groups[0][-1].word
    assert all(group[-1].end - group[0].start <= MAX_DURATION for group in groups)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([" a", " b.", " c,", " Sr.", " fim?", " d"]),
            st.floats(0, 2),
            st.floats(0, 20),
        ),
        max_size=60,
    )
)
def test_every_word_is_in_exactly_one_segment(spec: list[tuple[str, float, float]]) -> None:
    """Nothing is lost, doubled or moved."""
    words, at = [], 0.0
    for text, gap, length in spec:
        words.append(Timing(text, 1, at + gap, at + gap + length, 1.0))
        at += gap + length
    groups = group_words(words)
    assert words == [word for group in groups for word in group]
    assert all(groups)


def _flat(start: float, end: float) -> tuple[float, float]:
    """A place without any dip."""
    return (start + end) / 2, 0.0


def test_a_window_is_left_at_the_end_of_a_sentence() -> None:
    """In its last 12 s; the words after it belong to the next window."""
    words = _words("um dois três. quatro cinco seis sete. oito nove dez onze doze", 2.0)
    assert (7, 14.0) == stop_at_a_gap(words, 24.0, _flat)


def test_a_window_is_left_where_the_sound_dips() -> None:
    """A real pause is worth more than a comma."""
    words = _words("um dois três, quatro cinco, seis sete oito nove", 3.0)

    def dip(start: float, end: float) -> tuple[float, float]:
        return (start + end) / 2, float(start < 21.0 < end)

    assert (7, 21.0) == stop_at_a_gap(words, 27.0, dip)


@given(
    st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), max_size=20),
    st.floats(1, 30),
)
def test_the_next_window_starts_in_the_last_seconds(
    spec: list[tuple[float, float]], end: float
) -> None:
    """Never before them, so that every window gets on; kept words are the first ones."""
    words, at = [], 0.0
    for gap, length in spec:
        words.append(Timing(" a", 1, at + gap, at + gap + length, 1.0))
        at += gap + length

    def first(start: float, _end: float) -> tuple[float, float]:
        return start, 1.0

    kept, stop = stop_at_a_gap(words, end, first)
    assert 0 <= kept <= len(words)
    assert end - STITCH_SECONDS <= stop <= end


def test_a_word_cut_by_the_end_is_left_alone_too() -> None:
    """Also where it is the only one for a long time."""
    words = [Timing(" um", 1, 1.0, 1.5, 1.0), Timing(" do", 1, 29.7, 30.0, 1.0)]
    assert 1 == stop_at_a_gap(words, 30.0, _flat)[0]


def test_the_last_word_and_what_may_be_cut_are_left_to_the_next_window() -> None:
    """Nothing is kept beyond a second before the end; with one word there is no choice."""
    words = _words("um dois três quatro cinco seis", 5.0)
    kept, at = stop_at_a_gap(words, 30.0, _flat)
    assert kept <= len(words) - 2
    assert at <= 29.0
    assert (1, 30.0) == stop_at_a_gap(words[:1], 30.0, _flat)
