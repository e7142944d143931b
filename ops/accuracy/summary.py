"""Error rates of all systems, by group of clips.

Knows: groups of clips, and which measure belongs to which.
Must not know: how systems are run, or how a report looks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ops.accuracy import normalise
from ops.accuracy.manifest import Clip
from ops.accuracy.metrics import (
    Errors,
    Interval,
    count_errors,
    difference_interval,
    error_rate,
    rate_interval,
)
from ops.accuracy.transcripts import Hypothesis

Answers = Mapping[str, Mapping[str, Hypothesis]]
"""System's name → clip's name → answer; every system answered the same clips."""


@dataclass(frozen=True, slots=True)
class Score:
    """One system's errors in a group of clips; `interval` is the rate's."""

    errors: int
    units: int
    rate: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Group:
    """Clips scored together; `measure` is `WER` or `CER`, `scores` are by system."""

    title: str
    measure: str
    clips: int
    scores: Mapping[str, Score]
    differences: Mapping[str, tuple[float, Interval | None]]
    """The first system's rate less each other one's, with the paired interval."""


def is_character_scored(clip: Clip) -> bool:
    """Whether the clip counts by characters."""
    return clip.language in normalise.CHARACTER_LANGUAGES


def units(clip: Clip, text: str) -> list[str]:
    """The text as what is counted for this clip."""
    split = normalise.characters if is_character_scored(clip) else normalise.words
    return split(text, clip.language)


def clip_errors(clip: Clip, hypothesis: Hypothesis) -> Errors:
    """The clip's errors; an answer that failed has lost every word."""
    return count_errors(units(clip, clip.reference), units(clip, hypothesis.text))


def score_groups(clips: Sequence[Clip], answers: Answers) -> list[Group]:
    """Scores overall, by language and by kind; empty groups are left out.

    Every clip counts by characters (CER); by words (WER) those whose language has spaces.
    """
    spoken = [clip for clip in clips if clip.is_speech]
    groups = []
    for measure, some in (
        ("WER", [clip for clip in spoken if not is_character_scored(clip)]),
        ("CER", spoken),
    ):
        split = normalise.words if measure == "WER" else normalise.characters
        errors = {
            system: {
                clip.name: count_errors(
                    split(clip.reference, clip.language),
                    split(hypotheses[clip.name].text, clip.language),
                )
                for clip in some
            }
            for system, hypotheses in answers.items()
        }
        members = {"all": list(some)}
        for field in ("language", "kind"):
            for value in sorted({getattr(clip, field) for clip in some}):
                members[value] = [clip for clip in some if getattr(clip, field) == value]
        groups += [
            _group(title, measure, chosen, errors) for title, chosen in members.items() if chosen
        ]
    return groups


def _group(
    title: str,
    measure: str,
    clips: Sequence[Clip],
    errors: Mapping[str, Mapping[str, Errors]],
) -> Group:
    rows = {system: [counts[clip.name] for clip in clips] for system, counts in errors.items()}
    first, *others = rows
    return Group(
        title=title,
        measure=measure,
        clips=len(clips),
        scores={
            system: Score(
                errors=sum(e.total for e in row),
                units=sum(e.units for e in row),
                rate=error_rate(row),
                interval=rate_interval(row),
            )
            for system, row in rows.items()
        },
        differences={
            other: (
                error_rate(rows[first]) - error_rate(rows[other]),
                difference_interval(rows[first], rows[other]),
            )
            for other in others
        },
    )


def best_of(groups: Sequence[Group], systems: Sequence[str]) -> str | None:
    """The system among `systems` with the lowest overall rate, WER before CER."""
    if not groups or not systems:
        return None
    return min(systems, key=lambda system: groups[0].scores[system].rate)
