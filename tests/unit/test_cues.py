import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.cues import CueLimits, cues
from server.types import Segment, Transcript, Word

LIMITS = CueLimits()


def _segment(text: str, start: float, end: float, words: tuple[Word, ...] = ()) -> Segment:
    return Segment(0, 0, start, end, text, (), 0.0, -0.1, 1.0, 0.0, words)


def _transcript(*segments: Segment) -> Transcript:
    return Transcript("transcribe", "pt", 60.0, "", segments)


def _spoken(text: str, start: float = 0.0, seconds: float = 0.4) -> Segment:
    words = tuple(
        Word(start + index * seconds, start + (index + 1) * seconds, " " + word, 0.9)
        for index, word in enumerate(text.split())
    )
    return _segment(" " + text, words[0].start, words[-1].end, words)


LONG = (
    "A biblioteca antiga fica no fim da rua, perto da praça, e abre todas as manhãs; quem chega "
    "cedo encontra os jornais do dia, um café ainda quente e a mesma cadeira junto da janela."
)


def test_a_short_sentence_is_one_line() -> None:
    """With its own times, to the word."""
    (cue,) = cues(_transcript(_spoken("Bom dia a todos.", 2.0)), LIMITS)
    assert (2.0, 3.6, ("Bom dia a todos.",)) == (cue.start, cue.end, cue.lines)


def test_long_speech_is_cut_into_readable_cues() -> None:
    """Two lines of 42 characters and 7 s at most, nothing lost."""
    made = cues(_transcript(_spoken(LONG)), LIMITS)
    assert len(made) > 1
    assert LONG == " ".join(line for cue in made for line in cue.lines)
    for cue in made:
        assert len(cue.lines) <= 2
        assert max(len(line) for line in cue.lines) <= 42
        assert cue.end - cue.start <= 7.0 + 1e-9


def test_cues_end_at_punctuation_where_they_can() -> None:
    """More than half of the cues of a long sentence end with a clause."""
    made = cues(_transcript(_spoken(LONG)), LIMITS)
    ends = [cue.lines[-1][-1] for cue in made]
    assert sum(end in ",;." for end in ends) > len(ends) / 2


def test_no_word_is_left_over_for_a_cue_of_its_own() -> None:
    """A sentence that is a little too long for one cue is cut at its clause, not before its end."""
    said = "Ask not what your country can do for you, ask what you can do for your country."
    made = cues(_transcript(_spoken(said, seconds=0.45)), LIMITS)
    assert [cue.lines[-1].split()[-1] for cue in made] == ["you,", "country."]


def test_limits_are_settings() -> None:
    """One line of 20 characters for 3 s, if that is what is asked for."""
    made = cues(_transcript(_spoken(LONG)), CueLimits(20, 1, 3.0))
    assert all(len(cue.lines) == 1 and len(cue.lines[0]) <= 20 for cue in made)
    assert all(cue.end - cue.start <= 3.0 + 1e-9 for cue in made)


def test_without_word_times_the_text_is_spread() -> None:
    """A translation has segments only: its cues share the segment's time by length."""
    made = cues(_transcript(_segment(" " + LONG, 10.0, 30.0)), LIMITS)
    assert 10.0 == made[0].start
    assert pytest.approx(30.0) == made[-1].end
    assert LONG == " ".join(line for cue in made for line in cue.lines)


def test_scripts_without_spaces_are_cut_by_width() -> None:
    """Japanese lines hold half as many characters, which take the same room."""
    text = "東京は晴れでした。" * 8
    made = cues(_transcript(_segment(text, 0.0, 20.0)), LIMITS)
    assert text == "".join(line for cue in made for line in cue.lines)
    assert all(len(line) <= 21 for cue in made for line in cue.lines)


def test_a_long_text_without_spaces_is_cut_in_little_time() -> None:
    """In time that grows with its length: a tenth of a second where it was five."""
    limits = CueLimits(200, 4, 60.0)
    text = "東京は晴れでした。" * 25
    started = time.thread_time()
    made = cues(_transcript(_segment(text, 0.0, 28.0)), limits)
    assert time.thread_time() - started < 1.0
    assert text == "".join(line for cue in made for line in cue.lines)


def test_a_word_longer_than_a_line_is_broken() -> None:
    """No line is too long and no cue stays too long, whatever the words are."""
    word = Word(0.0, 30.0, " " + "x" * 120, 1.0)
    made = cues(_transcript(_segment("", 0.0, 30.0, (word,))), LIMITS)
    assert 120 == sum(len(line) for cue in made for line in cue.lines)
    assert max(len(line) for cue in made for line in cue.lines) <= 42
    assert max(cue.end - cue.start for cue in made) <= 7.0 + 1e-9
    (slow,) = cues(_transcript(_segment("", 0.0, 12.0, (Word(0.0, 12.0, " um", 1.0),))), LIMITS)
    assert 7.0 == slow.end


def test_a_short_cue_stays_a_second_if_there_is_room() -> None:
    """Nobody reads a word in 300 ms; the next cue comes first, though."""
    alone = cues(_transcript(_spoken("Sim.", 5.0, 0.3)), LIMITS)
    assert 6.0 == alone[0].end
    pressed = cues(_transcript(_spoken("Sim.", 5.0, 0.3), _spoken("Não.", 5.5, 0.3)), LIMITS)
    assert 5.5 == pressed[0].end == pressed[1].start


@given(
    st.lists(
        st.tuples(
            st.sampled_from([" a", " palavra", " fim.", " incomensurabilidade,", "", " 東京"]),
            st.floats(0, 3),
            st.floats(0, 9),
        ),
        max_size=40,
    )
)
def test_cues_never_overlap(spec: list[tuple[str, float, float]]) -> None:
    """Whatever the words, cues are in order, have a length and hold every word."""
    words, at = [], 0.0
    for text, gap, length in spec:
        words.append(Word(at + gap, at + gap + length, text, 1.0))
        at += gap + length
    made = cues(_transcript(_segment("", 0.0, at, tuple(words))), LIMITS)
    assert all(cue.start < cue.end and cue.lines for cue in made)
    assert all(before.end <= after.start + 1e-9 for before, after in pairwise(made))
    shown = "".join(line for cue in made for line in cue.lines).replace(" ", "")
    assert "".join(text for text, _, _ in spec).replace(" ", "") == shown
