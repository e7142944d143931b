"""Where a recording may be cut: quiet places, so that no word is split.

Knows: levels and pauses.
Must not know: what is speech and what is not. Nothing is left out here: the spans cover the
recording from its first sample to its last. (A voice detector that deletes audio loses hoarse
and quiet speakers whole.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from server.types import FRAMES_PER_SECOND, SAMPLE_RATE, Pcm, SpeechSegment

HOP = SAMPLE_RATE // FRAMES_PER_SECOND
MAX_SPAN_FRAMES = 30 * FRAMES_PER_SECOND

PAUSE_FRAMES = 30
"""A cut's surroundings: the level is averaged over 300 ms."""

CANDIDATE_FRAMES = 20
"""At most one candidate in 200 ms."""

QUIET = 0.4
"""A place is quiet below this share of the way from the local floor to the local speech level."""

SILENCE_DB = -89.0
"""Nothing to hear: the last bit of 16-bit audio, alone, is at -90 dB. A voice is understood
down to -85 dB, for the features are relative to the loudest sound."""

SHORT_FRAMES = 8 * FRAMES_PER_SECOND
"""A span below this has little context for the model."""

Decibels = npt.NDArray[np.float32]
"""float32 (n_frames,): level of each 10 ms, dB below full scale."""


def levels(pcm: Pcm) -> Decibels:
    """Level of each 10 ms frame in dBFS, at least -100; the last frame may be shorter."""
    count = -(-len(pcm) // HOP)
    power = np.zeros(count, dtype=np.float32)
    step = 60 * FRAMES_PER_SECOND
    for first in range(0, count, step):
        # One minute at a time: the recording may be a memory map of hours.
        block = pcm[first * HOP : (first + step) * HOP].astype(np.float32) / 32768.0
        block = np.pad(block, (0, -len(block) % HOP))
        power[first : first + step] = np.mean(block.reshape(-1, HOP) ** 2, axis=1)
    return np.asarray(10.0 * np.log10(np.maximum(power, 1e-10)), dtype=np.float32)


def is_silent(level: Decibels) -> bool:
    """Whether no frame is audible."""
    return not len(level) or bool(level.max() < SILENCE_DB)


def is_as_loud(rest: Decibels, heard: Decibels) -> bool:
    """Whether `rest` holds sound at the level of the speech in `heard`, give or take 12 dB."""
    if not len(rest) or not len(heard) or is_silent(rest):
        return False
    return bool(np.percentile(rest, 80) > np.percentile(heard, 80) - 12.0)


def cut(
    level: Decibels, n_samples: int, places: Sequence[int] | None = None
) -> list[SpeechSegment]:
    """Cut a recording at quiet places into spans of at most 30 s where it has such places.

    A span is longer only where speech goes on for more than 30 s without a pause; whoever
    decodes it moves through it from timestamp to timestamp.

    Args:
        level: the recording's levels, as `levels` gives them.
        n_samples: its length; the last span ends exactly there.
        places: samples where it may be cut, in order; None for wherever it is quiet.

    Returns: spans in order, without gap or overlap, from 0 to `n_samples`.
    """
    if len(level) <= MAX_SPAN_FRAMES:
        return [SpeechSegment(0, n_samples)] if n_samples else []
    if places is None:
        candidates = _candidates(level)
    else:
        at = np.array(places, dtype=np.int64) // HOP
        candidates = _Candidates(at, np.zeros(len(at), dtype=np.float32))
    frames = [0, *_best_cuts(candidates, len(level)), len(level)]
    edges = [frame * HOP for frame in frames[:-1]] + [n_samples]
    return [SpeechSegment(start, end) for start, end in pairwise(edges)]


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Places to cut: `frames` int (n,), and `loudness` float (n,), 0 at the local floor."""

    frames: npt.NDArray[np.int64]
    loudness: npt.NDArray[np.float32]


def _candidates(level: Decibels) -> _Candidates:
    """The quietest frame of each 200 ms, where it is quiet for its surroundings."""
    power = 10.0 ** (level.astype(np.float64) / 10.0)
    total = np.concatenate(([0.0], np.cumsum(np.pad(power, PAUSE_FRAMES // 2, mode="edge"))))
    around = (total[PAUSE_FRAMES:] - total[:-PAUSE_FRAMES])[: len(level)] / PAUSE_FRAMES
    smooth = 10.0 * np.log10(np.maximum(around, 1e-10))

    usable = len(smooth) // CANDIDATE_FRAMES * CANDIDATE_FRAMES
    blocks = smooth[:usable].reshape(-1, CANDIDATE_FRAMES)
    frames = blocks.argmin(axis=1) + np.arange(len(blocks)) * CANDIDATE_FRAMES
    floor, speech = _surroundings(level)
    second = frames // FRAMES_PER_SECOND
    # Digital silence would put the floor so low that no real pause counts as quiet.
    low = np.maximum(floor[second], speech[second] - 50.0)
    # Where levels hardly differ there is no pause: 10 dB is the least range that counts.
    depth = speech[second] - smooth[frames]
    loudness = 1.0 - depth / np.maximum(speech[second] - low, 10.0)
    quiet = loudness < QUIET
    return _Candidates(frames[quiet], np.maximum(loudness[quiet], 0.0).astype(np.float32))


def _surroundings(level: Decibels) -> tuple[Decibels, Decibels]:
    """For each second, the 5th and 95th percentile of the levels within 15 s of it."""
    seconds = -(-len(level) // FRAMES_PER_SECOND)
    half = MAX_SPAN_FRAMES // 2
    bounds = np.empty((seconds, 2), dtype=np.float32)
    for second in range(seconds):
        middle = second * FRAMES_PER_SECOND
        near = level[max(0, middle - half) : middle + half]
        bounds[second] = np.percentile(near, (5, 95))
    return bounds[:, 0], bounds[:, 1]


def _best_cuts(candidates: _Candidates, n_frames: int) -> list[int]:
    """The cuts of least total cost, by dynamic programming from left to right.

    Each window costs 1; a cut costs up to 1 more the louder its place is; a short span costs a
    little, since the model sees little context there; a span over 30 s costs what its
    hand-overs cost. Only relations matter, not the unit.
    """
    frames = np.concatenate(([0], candidates.frames, [n_frames]))
    loudness = np.concatenate(([0.0], candidates.loudness / QUIET, [0.0]))
    best = np.zeros(len(frames))
    previous = np.zeros(len(frames), dtype=np.int64)
    for index in range(1, len(frames)):
        # One candidate beyond 30 s keeps the way open where speech goes on without a pause.
        first = int(np.searchsorted(frames, frames[index] - MAX_SPAN_FRAMES))
        first = max(0, min(first - 1, index - 1))
        cost = best[first:index] + _span_cost(frames[index] - frames[first:index])
        choice = int(cost.argmin())
        previous[index] = first + choice
        best[index] = cost[choice] + loudness[index]
    cuts: list[int] = []
    index = int(previous[-1])
    while index:
        cuts.append(int(frames[index]))
        index = int(previous[index])
    return cuts[::-1]


def _span_cost(length: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    over = np.maximum(0, length - MAX_SPAN_FRAMES)
    hand_overs = np.ceil(over / (MAX_SPAN_FRAMES * 0.8))
    short = np.maximum(0, SHORT_FRAMES - length) / SHORT_FRAMES
    cost: npt.NDArray[np.float64] = 1.0 + 2.0 * hand_overs + short
    return cost
