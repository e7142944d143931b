import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rapidfuzz")

from ops.accuracy.metrics import (
    Errors,
    Interval,
    align,
    count_errors,
    difference_interval,
    error_rate,
    rate_interval,
)

WORDS = st.lists(st.sampled_from("abc"), max_size=8)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("a b c", "a b c", Errors(0, 0, 0, 3)),
        ("a b c", "a x c", Errors(1, 0, 0, 3)),
        ("a b c", "a c", Errors(0, 1, 0, 3)),
        ("a b c", "a b c d e", Errors(0, 0, 2, 3)),
        ("a b c", "", Errors(0, 3, 0, 3)),
    ],
)
def test_errors_are_told_apart(reference: str, hypothesis: str, expected: Errors) -> None:
    """Substitutions, deletions and insertions each have their count."""
    assert expected == count_errors(reference.split(), hypothesis.split())


def distance(reference: list[str], hypothesis: list[str]) -> int:
    """The textbook recursion, row by row."""
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, start=1):
        previous, row = row, [i]
        for j, other in enumerate(hypothesis, start=1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (word != other)))
    return row[-1]


@given(WORDS, WORDS)
def test_the_total_is_the_edit_distance(reference: list[str], hypothesis: list[str]) -> None:
    """No shorter list of edits exists."""
    assert distance(reference, hypothesis) == count_errors(reference, hypothesis).total


@given(WORDS, WORDS)
def test_edits_cover_both_texts_in_order(reference: list[str], hypothesis: list[str]) -> None:
    """Each unit of either text stands in exactly one edit, and equal edits are equal."""
    edits = align(reference, hypothesis)
    covered = [i for e in edits for i in range(e.reference_start, e.reference_end)]
    produced = [i for e in edits for i in range(e.hypothesis_start, e.hypothesis_end)]
    assert list(range(len(reference))) == covered
    assert list(range(len(hypothesis))) == produced
    for edit in edits:
        ours = reference[edit.reference_start : edit.reference_end]
        same = ours == hypothesis[edit.hypothesis_start : edit.hypothesis_end]
        assert (edit.tag == "equal") == same


def test_a_rate_weighs_clips_by_length() -> None:
    """All errors over all units, not the mean of rates."""
    assert error_rate([Errors(1, 0, 0, 1), Errors(0, 0, 0, 9)]) == 0.1


def test_few_clips_have_no_interval() -> None:
    """Four clips say nothing about other clips."""
    few = [Errors(1, 0, 0, 5)] * 4
    assert rate_interval(few) is None
    assert difference_interval(few, few) is None


def test_equal_clips_have_an_interval_of_no_width() -> None:
    """Where every clip has the same rate, so has every resample."""
    assert Interval(0.2, 0.2) == rate_interval([Errors(1, 0, 0, 5)] * 6)


def test_an_interval_holds_the_rate_and_stays_the_same() -> None:
    """The rate lies inside; the seed is fixed, so a second call answers the same."""
    errors = [Errors(n % 4, 0, 0, 10) for n in range(40)]
    interval = rate_interval(errors)
    assert interval is not None
    assert interval.low < error_rate(errors) < interval.high
    assert interval == rate_interval(errors)


def test_a_paired_interval_sees_a_constant_gain() -> None:
    """Clips vary widely, but ours is one error better on each: the pairs show it exactly."""
    peer = [Errors(n % 7 + 1, 0, 0, 10) for n in range(40)]
    ours = [Errors(n % 7, 0, 0, 10) for n in range(40)]
    interval = difference_interval(ours, peer)
    assert interval is not None
    assert (pytest.approx(-0.1), pytest.approx(-0.1)) == (interval.low, interval.high)
