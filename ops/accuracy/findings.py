"""What the error rates do not tell: invented words, speed, word times, lost runs.

Knows: which clips each finding is about.
Must not know: how systems are run, or how a report looks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ops.accuracy import normalise
from ops.accuracy.manifest import Clip
from ops.accuracy.summary import Answers, clip_errors, is_character_scored, units
from ops.accuracy.timing import Run, StartDifferences, runs, start_differences
from ops.accuracy.transcripts import Hypothesis

LONG_SECONDS = 30.0
"""Beyond one Whisper window: here words can be lost or doubled at cuts."""


@dataclass(frozen=True, slots=True)
class FalseText:
    """What a system said although nobody spoke."""

    words: int
    clips: int
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds spent for seconds of audio, clips one by one."""

    audio_s: float
    wall_s: float
    cpu_s: float | None
    long_rtf: float | None

    @property
    def rtf(self) -> float:
        """The real-time factor: below 1 is faster than speech."""
        return self.wall_s / self.audio_s


@dataclass(frozen=True, slots=True)
class Difference:
    """One clip on which two systems differ; `texts` are normalised, the reference's too."""

    clip: str
    errors: Mapping[str, int]
    texts: Mapping[str, str]


def false_text(clips: Sequence[Clip], hypotheses: Mapping[str, Hypothesis]) -> FalseText:
    """The words said on clips without speech."""
    texts = {clip.name: hypotheses[clip.name].text.strip() for clip in clips if not clip.is_speech}
    counts = {name: normalise.false_words(text) for name, text in texts.items()}
    return FalseText(
        words=sum(counts.values()),
        clips=sum(count > 0 for count in counts.values()),
        texts={name: text for name, text in texts.items() if counts[name]},
    )


def speed(clips: Sequence[Clip], hypotheses: Mapping[str, Hypothesis]) -> Speed | None:
    """Time spent on the clips that were answered; None if there is none."""
    done = [clip for clip in clips if hypotheses[clip.name].error is None]
    if not done:
        return None
    long = [clip for clip in done if clip.seconds > LONG_SECONDS and clip.is_speech]
    cpu = [hypotheses[clip.name].cpu_s for clip in done]

    def wall(some: Sequence[Clip]) -> float:
        return sum(hypotheses[clip.name].wall_s for clip in some)

    return Speed(
        audio_s=sum(clip.seconds for clip in done),
        wall_s=wall(done),
        cpu_s=None if None in cpu else sum(seconds or 0.0 for seconds in cpu),
        long_rtf=wall(long) / sum(clip.seconds for clip in long) if long else None,
    )


def word_starts(
    clips: Sequence[Clip], answers: Answers, against: str
) -> dict[str, StartDifferences]:
    """Each system's word starts against those of the system `against`, on clips by words."""
    some = [clip for clip in clips if clip.is_speech and not is_character_scored(clip)]
    return {
        system: start_differences(
            [(hypotheses[clip.name].words, answers[against][clip.name].words) for clip in some]
        )
        for system, hypotheses in answers.items()
        if system != against
    }


def known_word_starts(clips: Sequence[Clip], answers: Answers) -> dict[str, StartDifferences]:
    """Each system's word starts against where the words are known to be; empty if nowhere."""
    some = [clip for clip in clips if clip.words]
    if not some:
        return {}
    return {
        system: start_differences([(hypotheses[clip.name].words, clip.words) for clip in some])
        for system, hypotheses in answers.items()
    }


def long_runs(clips: Sequence[Clip], answers: Answers) -> dict[str, dict[str, list[Run]]]:
    """System → long clip → runs of lost or added words."""
    some = [
        clip
        for clip in clips
        if clip.is_speech and clip.seconds > LONG_SECONDS and not is_character_scored(clip)
    ]
    return {
        system: {
            clip.name: runs(
                units(clip, clip.reference),
                units(clip, hypotheses[clip.name].text),
                hypotheses[clip.name],
            )
            for clip in some
        }
        for system, hypotheses in answers.items()
    }


def differing_clips(
    clips: Sequence[Clip], answers: Answers, ours: str, peer: str, count: int = 10
) -> list[Difference]:
    """The clips on which `ours` and `peer` differ most in errors, the largest first."""
    found = []
    for clip in clips:
        if not clip.is_speech:
            continue
        hypotheses = {system: answers[system][clip.name] for system in (ours, peer)}
        errors = {system: clip_errors(clip, h).total for system, h in hypotheses.items()}
        joint = "" if is_character_scored(clip) else " "
        texts = {"reference": clip.reference} | {s: h.text for s, h in hypotheses.items()}
        normal = {who: joint.join(units(clip, text)) for who, text in texts.items()}
        if errors[ours] != errors[peer]:
            found.append(Difference(clip.name, errors, normal))
    return sorted(found, key=lambda d: -abs(d.errors[ours] - d.errors[peer]))[:count]
