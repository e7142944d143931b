"""From one window's tokens to segments, and where the next window begins.

Knows: timestamp tokens come in pairs; the last one may stand alone.
Must not know: audio, engines, text formats.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from server.decoding.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a window: seconds from the window's start, and its tokens."""

    start: float
    end: float
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """A window's pieces, and the second at which the model stopped.

    `complete` says that the model closed its last piece: after `resume` it heard nothing more.
    If not, a piece was left open there and has to be decoded again.
    """

    pieces: tuple[Piece, ...]
    resume: float
    complete: bool


def split(tokens: Sequence[int], tokenizer: Tokenizer, duration: float) -> Split:
    """Cut a window's tokens at pairs of timestamps.

    Args:
        tokens: what the model generated, without end-of-text.
        tokenizer: says which tokens are timestamps.
        duration: seconds of audio in the window; no piece ends after it.

    Source: the rules of openai/whisper transcribe.py.
    """
    begin = tokenizer.timestamp_begin
    stamps = [token >= begin for token in tokens]
    single_ending = stamps[-2:] == [False, True]
    cuts = [index for index in range(1, len(tokens)) if stamps[index] and stamps[index - 1]]
    if not cuts:
        return _unsplit(tokens, tokenizer, duration)
    if single_ending:
        cuts.append(len(tokens))
    pieces = []
    for first, last in zip([0, *cuts], cuts, strict=False):
        run = tokens[first:last]
        start = min(tokenizer.timestamp(run[0]), duration) if run[0] >= begin else 0.0
        end = min(tokenizer.timestamp(run[-1]), duration)
        pieces.append(Piece(start, max(start, end), tuple(run)))
    return Split(tuple(pieces), pieces[-1].end, single_ending)


def _unsplit(tokens: Sequence[int], tokenizer: Tokenizer, duration: float) -> Split:
    """No pair of timestamps: one piece; a timestamp at either end says where."""
    if not tokens:
        return Split((), duration, complete=True)
    start, end = 0.0, duration
    if tokens[0] >= tokenizer.timestamp_begin:
        start = min(tokenizer.timestamp(tokens[0]), duration)
    if len(tokens) > 1 and tokens[-1] >= tokenizer.timestamp_begin:
        end = min(tokenizer.timestamp(tokens[-1]), duration)
    return Split((Piece(start, max(start, end), tuple(tokens)),), end, complete=True)
