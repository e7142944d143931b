from hypothesis import given
from hypothesis import strategies as st

from server.segment_order import SegmentOrder
from server.types import Segment, Word


def _segment(text: str) -> Segment:
    word = Word(0.0, 1.0, text, 1.0)
    return Segment(9, 0, 0.0, 1.0, text, (), 0.0, -0.1, 1.0, 0.0, (word,))


@given(st.data())
def test_whatever_comes_first_is_told_in_order(data: st.DataObject) -> None:
    """Spans grow and end in any order; what is told is the recording, numbered, piece by piece."""
    sizes = data.draw(st.lists(st.integers(0, 3), max_size=5))
    told: list[Segment] = []
    order = SegmentOrder(len(sizes), word_timestamps=False, on_segments=told.extend)
    steps = [span for span, size in enumerate(sizes) for _ in range(size + 1)]
    seen = [0] * len(sizes)
    for span in data.draw(st.permutations(steps)):
        if seen[span] < sizes[span]:
            order.add(span, [_segment(f"{span}.{seen[span]}")])
        else:
            order.close(span)
        seen[span] += 1

    expected = [f"{span}.{n}" for span, size in enumerate(sizes) for n in range(size)]
    assert expected == [segment.text for segment in told]
    assert list(range(len(expected))) == [segment.id for segment in told]
    assert told == order.segments


def test_the_first_open_span_is_told_as_it_grows() -> None:
    """Later ones wait until all before them are done."""
    told: list[str] = []
    order = SegmentOrder(
        2,
        word_timestamps=True,
        on_segments=lambda segments: told.extend(segment.text for segment in segments),
    )
    order.add(1, [_segment("later")])
    assert [] == told
    order.add(0, [_segment("first")])
    assert ["first"] == told
    order.close(1)
    assert ["first"] == told
    order.close(0)
    assert ["first", "later"] == told


def test_words_are_kept_only_where_they_are_wanted() -> None:
    """They are there for all segments that were placed by alignment."""
    for wanted in (False, True):
        order = SegmentOrder(1, word_timestamps=wanted, on_segments=None)
        order.add(0, [_segment("a")])
        assert wanted == bool(order.segments[0].words)
