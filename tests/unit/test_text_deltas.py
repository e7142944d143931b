from hypothesis import given
from hypothesis import strategies as st

from server.http.events import TextDeltas
from server.types import Segment

TEXTS = st.lists(st.text(alphabet="ab \n\u00a0.", max_size=5))


def _segment(text: str) -> Segment:
    return Segment(0, 0, 0.0, 1.0, text, (), 0.0, -0.1, 1.0, 0.0)


@given(st.lists(TEXTS))
def test_deltas_add_up_to_the_text(told: list[list[str]]) -> None:
    """However segments are told, and whatever white space they have."""
    deltas = TextDeltas()
    pieces = [deltas.add([_segment(text) for text in texts]) for texts in told]
    whole = "".join(text for texts in told for text in texts)
    assert whole.strip() == "".join(pieces)


@given(st.lists(TEXTS))
def test_no_delta_ends_in_white_space(told: list[list[str]]) -> None:
    """It may turn out to be the text's end."""
    deltas = TextDeltas()
    for texts in told:
        delta = deltas.add([_segment(text) for text in texts])
        assert delta == delta.rstrip()
