"""One run of the accuracy command: every system answers every clip, then all is summed up.

Knows: the order of asking, and how results become a report.
Must not know: the command line, the report's layout.
"""

import hashlib
import os
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from pydantic import TypeAdapter

from ops.accuracy import findings, summary
from ops.accuracy.manifest import Clip
from ops.accuracy.peers import OpenAIWhisper
from ops.accuracy.remote import NAME
from ops.accuracy.report import AtOnce, Report
from ops.accuracy.transcripts import Hypothesis, System
from server.decoding.languages import LANGUAGES

Results: TypeAlias = dict[str, Report | dict[str, dict[str, Hypothesis]]]
RESULTS: TypeAdapter[Results] = TypeAdapter(Results)


def conditions(manifest: Path, clips: Sequence[Clip]) -> dict[str, str]:
    """What a reader must know to run this again."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, "
        f"load {os.getloadavg()[0]:.1f} at the end",
        "python": platform.python_version(),
        "manifest sha256": hashlib.sha256(manifest.read_bytes()).hexdigest(),
        "clips": " ".join(clip.name for clip in clips),
    }


class Session:
    """The clips, the systems and what they answered; `progress` takes one line a clip."""

    def __init__(
        self, clips: Sequence[Clip], systems: Sequence[System], progress: Callable[[str], None]
    ) -> None:
        self.clips = clips
        self.systems = systems
        self.answers: dict[str, dict[str, Hypothesis]] = {}
        self._at_once: dict[str, AtOnce] = {}
        self._progress = progress

    def run(self) -> None:
        """Ask every system for every clip, one by one."""
        for system in self.systems:
            answers = self.answers[system.name] = {}
            for number, clip in enumerate(self.clips, start=1):
                answers[clip.name] = answer = system.transcribe(clip)
                outcome = answer.error or f"{answer.wall_s:.1f} s"
                place = f"{number}/{len(self.clips)}"
                self._progress(f"{system.name} {place} {clip.name}: {outcome}")

    def run_at_once(self, systems: Sequence[System], requests: int) -> None:
        """Ask these systems again, `requests` clips at a time, and time the whole."""
        for system in systems:
            start = time.perf_counter()
            with ThreadPoolExecutor(requests) as pool:
                answers = list(pool.map(system.transcribe, self.clips))
            wall_s = time.perf_counter() - start
            before = self.answers[system.name]
            self._at_once[system.name] = AtOnce(
                requests=requests,
                audio_s=sum(clip.seconds for clip in self.clips),
                wall_s=wall_s,
                changed=sum(
                    answer.error is None and answer.text != before[clip.name].text
                    for clip, answer in zip(self.clips, answers, strict=True)
                ),
                failed=sum(answer.error is not None for answer in answers),
            )

    def report(
        self,
        conditions: dict[str, str],
        not_run: list[str],
        *,
        words: bool,
        detect_language: bool,
    ) -> Report:
        """All answers summed up."""
        clips, answers = self.clips, self.answers
        groups = summary.score_groups(clips, answers)
        ours = [name for name in answers if name.startswith(NAME)]
        peer = summary.best_of(groups, [name for name in answers if name not in ours])
        judge = OpenAIWhisper.name
        return Report(
            systems={system.name: dict(system.fingerprint) for system in self.systems},
            conditions=conditions,
            clips=len(clips),
            audio_s=sum(clip.seconds for clip in clips),
            groups=groups,
            false_text={name: findings.false_text(clips, some) for name, some in answers.items()},
            speed={name: findings.speed(clips, some) for name, some in answers.items()},
            long_runs=findings.long_runs(clips, answers),
            word_starts=findings.word_starts(clips, answers, judge)
            if words and judge in answers
            else {},
            known_word_starts=findings.known_word_starts(clips, answers) if words else {},
            detection=self._detection() if detect_language else {},
            differing=findings.differing_clips(clips, answers, ours[0], peer)
            if ours and peer
            else [],
            at_once=self._at_once,
            failures={
                name: failed
                for name, some in answers.items()
                if (failed := {clip: a.error for clip, a in some.items() if a.error})
            },
            not_run=not_run,
        )

    def _detection(self) -> dict[str, tuple[int, int]]:
        """System → (clips whose language it found, clips with speech).

        OpenAI's API names the language in English, peers by its code.
        """
        spoken = [clip for clip in self.clips if clip.is_speech]
        return {
            name: (
                sum(
                    answers[clip.name].language in {clip.language, LANGUAGES.get(clip.language)}
                    for clip in spoken
                ),
                len(spoken),
            )
            for name, answers in self.answers.items()
        }

    def results_json(self, report: Report) -> bytes:
        """The report and every answer, for other programs."""
        results: Results = {"report": report, "answers": self.answers}
        return RESULTS.dump_json(results, indent=1)
