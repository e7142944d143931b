from hypothesis import given
from hypothesis import strategies as st

from server.decoding.repetition import loop_mask


def _kept(text: str) -> str:
    words = text.split()
    keep = zip(words, loop_mask(words), strict=True)
    return " ".join(word for word, kept in keep if kept)


def test_a_loop_keeps_its_first_round() -> None:
    """Single words from four in a row, phrases from three."""
    assert "ele disse não" == _kept("ele disse não não não não não")
    assert "e aí vamos lá fim" == _kept("e aí vamos lá e aí vamos lá e aí vamos lá fim")


def test_people_repeat_themselves_too() -> None:
    """Three times the same word, twice the same phrase: that is speech."""
    for text in ("não não não", "muito bem muito bem obrigado", "um dois um dois um dois"):
        assert text == _kept(text)


@given(st.lists(st.sampled_from("abc"), max_size=60))
def test_what_is_kept_is_in_order_and_begins_alike(words: list[str]) -> None:
    """Nothing is invented, and the first word always stays."""
    mask = loop_mask(words)
    assert len(words) == len(mask)
    assert not words or mask[0]
    assert {word for word, kept in zip(words, mask, strict=True) if kept} == set(words)
