import dataclasses
from pathlib import Path

import pytest

from ops.accuracy.manifest import Clip
from ops.accuracy.timed import TimedText
from ops.accuracy.transcripts import HYPOTHESIS, Cached, Hypothesis

ANSWER = Hypothesis(
    text="olá",
    language="pt",
    wall_s=1.5,
    cpu_s=2.5,
    segments=(TimedText(0.0, 1.0, "olá"),),
    words=(TimedText(0.1, 0.9, "olá"),),
)


class Counting:
    """A system that counts its calls."""

    name = "counting"

    def __init__(self, answer: Hypothesis = ANSWER, **fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.answer = answer
        self.calls = 0

    def transcribe(self, clip: Clip) -> Hypothesis:
        """The same answer each time."""
        self.calls += 1
        return self.answer


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """A clip whose file can be hashed."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"audio")
    return Clip(path, "pt", 1.0, "olá", "dev", "short")


def ask(clip: Clip, folder: Path, *systems: Counting) -> list[int]:
    """How often each system was really asked."""
    for system in systems:
        assert system.answer == Cached(system, folder).transcribe(clip)
    return [system.calls for system in systems]


def test_json_keeps_everything() -> None:
    """What is read back equals what was written."""
    assert HYPOTHESIS.validate_json(HYPOTHESIS.dump_json(ANSWER)) == ANSWER


def test_the_second_run_asks_nobody(clip: Clip, tmp_path: Path) -> None:
    """Same audio, language, options and versions: the answer is remembered."""
    assert ask(clip, tmp_path, Counting(beam="5"), Counting(beam="5")) == [1, 0]


def test_another_fingerprint_asks_again(clip: Clip, tmp_path: Path) -> None:
    """An option or version that changed makes another run."""
    assert ask(clip, tmp_path, Counting(beam="5"), Counting(beam="1")) == [1, 1]


def test_other_audio_or_language_asks_again(clip: Clip, tmp_path: Path) -> None:
    """The file's bytes count, not its name; and so does the language."""
    system = Counting()
    ask(clip, tmp_path, system)
    ask(dataclasses.replace(clip, language="es"), tmp_path, system)
    clip.path.write_bytes(b"other audio")
    assert ask(clip, tmp_path, system) == [3]


def test_failures_and_damage_are_not_remembered(clip: Clip, tmp_path: Path) -> None:
    """A failed answer is asked for again, and so is one whose file is damaged."""
    failing = Counting(Hypothesis(text="", language=None, wall_s=1.0, error="503"))
    ask(clip, tmp_path / "failing", failing)
    assert ask(clip, tmp_path / "failing", failing) == [2]
    system = Counting()
    ask(clip, tmp_path / "good", system)
    for path in (tmp_path / "good").rglob("*.json"):
        path.write_text('{"text":', encoding="utf-8")
    assert ask(clip, tmp_path / "good", system) == [2]
