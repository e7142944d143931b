"""Tokens with their log probabilities, beside the text that they make."""

from hypothesis import given
from hypothesis import strategies as st

from server.http.events import TextDeltas
from server.logprobs import LEAST, LogprobDeltas, logprobs
from server.types import Segment, TextToken

TOKENS = st.sampled_from([" a", "bc", " ", "\n", " d\u00e9", ".", " \u65e5\u672c", "\n\n"])
SEGMENTS = st.lists(st.lists(TOKENS, max_size=4), max_size=4)


def _segment(tokens: list[str]) -> Segment:
    told = tuple(TextToken(token.encode(), 0.5) for token in tokens)
    return Segment(0, 0, 0.0, 1.0, "".join(tokens), (), 0.0, -0.1, 1.0, 0.0, (), told)


@given(st.lists(SEGMENTS, max_size=4))
def test_the_bytes_of_each_delta_are_its_text(told: list[list[list[str]]]) -> None:
    """However segments come, and whatever white space they have."""
    texts, tokens = TextDeltas(), LogprobDeltas()
    for segments in told:
        made = [_segment(segment) for segment in segments]
        text, entries = texts.add(made), tokens.add(made)
        assert text.encode() == b"".join(bytes(entry["bytes"]) for entry in entries)


@given(SEGMENTS)
def test_the_bytes_joined_are_the_whole_text(segments: list[list[str]]) -> None:
    """Without white space around it, as in every format."""
    made = [_segment(segment) for segment in segments]
    whole = "".join(token for segment in segments for token in segment)

    assert whole.strip().encode() == b"".join(bytes(e["bytes"]) for e in logprobs(made))


def test_a_token_that_is_half_a_character_keeps_its_bytes() -> None:
    """Its text can only hint at it."""
    halves = (TextToken(b"\xe6\x97", 1.0), TextToken(b"\xa5", 0.0))
    segment = Segment(0, 0, 0.0, 1.0, "\u65e5", (), 0.0, -0.1, 1.0, 0.0, (), halves)
    first, second = logprobs([segment])

    assert ([0xE6, 0x97], [0xA5]) == (first["bytes"], second["bytes"])
    assert "\ufffd" in first["token"]
    assert 0.0 == first["logprob"]
    assert -100 < second["logprob"] < -80
    assert LEAST > 0
