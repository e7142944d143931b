"""Error rates and how sure they are.

Knows: edit distance over units, error counts, the bootstrap.
Must not know: languages, clips, systems, files.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Levenshtein

RESAMPLES = 1_000
SEED = 0
MIN_CLIPS = 5
"""Below this many clips a resampled interval says nothing: there is none."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One stretch of an alignment: reference[start:end] against hypothesis[start:end].

    `tag` is `equal`, `replace`, `delete` (lost words) or `insert` (added words).
    """

    tag: str
    reference_start: int
    reference_end: int
    hypothesis_start: int
    hypothesis_end: int


@dataclass(frozen=True, slots=True)
class Errors:
    """Counts of one clip; `units` is the reference's length."""

    substitutions: int
    deletions: int
    insertions: int
    units: int

    @property
    def total(self) -> int:
        """The edit distance."""
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval, as fractions."""

    low: float
    high: float


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Edit]:
    """A shortest list of edits that makes `hypothesis` of `reference`, in order."""
    return [
        Edit(op.tag, op.src_start, op.src_end, op.dest_start, op.dest_end)
        for op in Levenshtein.opcodes(reference, hypothesis)
    ]


def count_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> Errors:
    """Substitutions, deletions and insertions of a shortest alignment."""
    totals = {"replace": 0, "delete": 0, "insert": 0, "equal": 0}
    for edit in align(reference, hypothesis):
        lost = edit.reference_end - edit.reference_start
        added = edit.hypothesis_end - edit.hypothesis_start
        totals[edit.tag] += max(lost, added)
    return Errors(totals["replace"], totals["delete"], totals["insert"], len(reference))


def error_rate(errors: Sequence[Errors]) -> float:
    """Errors per unit over all clips together, as a fraction; may exceed 1."""
    return sum(e.total for e in errors) / sum(e.units for e in errors)


def rate_interval(errors: Sequence[Errors]) -> Interval | None:
    """The bootstrap interval over clips; None with fewer than `MIN_CLIPS`."""
    if len(errors) < MIN_CLIPS:
        return None
    return _percentiles(_resampled_rates(errors, _resamples(len(errors))))


def difference_interval(ours: Sequence[Errors], peer: Sequence[Errors]) -> Interval | None:
    """The paired bootstrap interval of (our rate - the peer's), clips in the same order."""
    if len(ours) < MIN_CLIPS:
        return None
    chosen = _resamples(len(ours))
    return _percentiles(_resampled_rates(ours, chosen) - _resampled_rates(peer, chosen))


def _resamples(clips: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(SEED).integers(0, clips, size=(RESAMPLES, clips))


def _resampled_rates(
    errors: Sequence[Errors], chosen: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    totals = np.array([e.total for e in errors], dtype=np.float64)
    units = np.array([e.units for e in errors], dtype=np.float64)
    rates: npt.NDArray[np.float64] = totals[chosen].sum(axis=1) / units[chosen].sum(axis=1)
    return rates


def _percentiles(values: npt.NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(low), float(high))
