import pytest

pytest.importorskip("rapidfuzz")

from ops.accuracy.timed import TimedText
from ops.accuracy.timing import Run, StartDifferences, plain, runs, start_differences
from ops.accuracy.transcripts import Hypothesis


def spoken(text: str, shift: float = 0.0, step: float = 1.0) -> Hypothesis:
    """One word a second, `shift` late."""
    words = tuple(
        TimedText(i * step + shift, i * step + shift + 0.5, word)
        for i, word in enumerate(text.split())
    )
    return Hypothesis(text=text, language="en", wall_s=1.0, words=words)


def test_words_are_matched_without_case_and_marks() -> None:
    """Systems write the same word in several ways."""
    assert plain(" Don't,") == "dont"


def test_differences_are_of_matched_words_alone() -> None:
    """A word that one system lacks has no difference; the total still counts it."""
    pair = (spoken("A, b d", shift=0.2).words, spoken("a b x d", shift=0.0).words)
    differences = start_differences([pair])
    assert (differences.matched, differences.words) == (3, 4)
    assert pytest.approx(0.2) == differences.median_abs
    assert pytest.approx(0.2) == differences.median


def test_the_sign_tells_late_from_early() -> None:
    """Early words make the median negative, never the absolute one."""
    differences = start_differences([(spoken("a b c", shift=-0.1).words, spoken("a b c").words)])
    assert pytest.approx(-0.1) == differences.median
    assert pytest.approx(0.1) == differences.p95_abs


def test_without_words_there_are_no_differences() -> None:
    """Nothing matched is None, not zero."""
    expected = StartDifferences(0, 2, None, None, None)
    assert expected == start_differences([((), spoken("a b").words)])


@pytest.mark.parametrize(
    ("reference", "text", "expected"),
    [
        ("a b c d e f", "a b c d e f", []),
        ("a b c d e f", "a d e f", []),
        ("a b c d e f", "a e f", [Run("lost", "b c d", 3, 1.0)]),
        ("a b c d e f", "a b c", [Run("lost", "d e f", 3, 2.0)]),
        ("a b", "a x y z b", [Run("added", "x y z", 3, 1.0)]),
        ("a b c d", "a b c a b c d", [Run("doubled", "a b c", 3, 3.0)]),
    ],
)
def test_only_long_runs_are_listed(reference: str, text: str, expected: list[Run]) -> None:
    """Three words in a row lost, added or doubled are listed, with the place in time."""
    assert expected == runs(reference.split(), text.split(), spoken(text))


def test_segments_give_times_where_words_do_not() -> None:
    """A segment's time is spread over its words."""
    hypothesis = Hypothesis(
        text="a b x y z", language="en", wall_s=1.0, segments=(TimedText(10.0, 15.0, "a b x y z"),)
    )
    assert [Run("added", "x y z", 3, 12.0)] == runs(["a", "b"], list("abxyz"), hypothesis)


def test_an_empty_answer_has_lost_all_at_an_unknown_time() -> None:
    """No words, no time."""
    empty = Hypothesis(text="", language=None, wall_s=1.0)
    assert [Run("lost", "a b c", 3, None)] == runs(["a", "b", "c"], [], empty)
