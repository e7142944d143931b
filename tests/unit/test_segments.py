from server.decoding.segments import Piece, split
from server.engines.fake import byte_tokenizer

TOKENIZER = byte_tokenizer()
BEGIN = TOKENIZER.timestamp_begin


def _at(seconds: float) -> int:
    return BEGIN + round(seconds / 0.02)


def test_pairs_of_timestamps_cut_pieces() -> None:
    """Each pair closes one piece and opens the next; a single last one ends the window."""
    tokens = (_at(0), 65, 66, _at(2), _at(2.5), 67, _at(4))
    parts = split(tokens, TOKENIZER, 30.0)
    assert [Piece(0.0, 2.0, tokens[:4]), Piece(2.5, 4.0, tokens[4:])] == list(parts.pieces)
    assert (4.0, True) == (parts.resume, parts.complete)


def test_an_open_piece_is_left_for_the_next_window() -> None:
    """Text after the last pair is decoded again from there."""
    tokens = (_at(0), 65, _at(2), _at(2), 67)
    parts = split(tokens, TOKENIZER, 30.0)
    assert (1, 2.0, False) == (len(parts.pieces), parts.resume, parts.complete)


def test_without_pairs_the_ends_say_where() -> None:
    """One piece, from its first timestamp to its last, or to the window's end."""
    assert (1.0, 5.0) == _edges((_at(1), 65, _at(5)))
    assert (1.0, 12.5) == _edges((_at(1), 65))
    assert (0.0, 12.5) == _edges((65, 66))


def _edges(tokens: tuple[int, ...]) -> tuple[float, float]:
    (piece,) = split(tokens, TOKENIZER, 12.5).pieces
    return piece.start, piece.end


def test_nothing_ends_after_the_audio() -> None:
    """A timestamp in the padding is taken back to the end of the audio."""
    parts = split((_at(0), 65, _at(29)), TOKENIZER, 3.0)
    assert (3.0, 3.0) == (parts.pieces[0].end, parts.resume)


def test_no_tokens_is_no_piece() -> None:
    """An empty answer means that nothing was heard in the whole window."""
    assert ((), 8.0) == (split((), TOKENIZER, 8.0).pieces, split((), TOKENIZER, 8.0).resume)
