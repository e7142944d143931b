"""Audio on disk: whole or not there."""

import os
from pathlib import Path

import numpy as np
import pytest

from server.jobs.audio_files import AudioFiles
from server.types import Audio


def names(folder: Path) -> list[str]:
    """What is in the folder of audio."""
    return [each.name for each in (folder / "audio").iterdir()]


AUDIO = Audio(np.arange(-500, 500, dtype=np.int16), ("audio_truncated",))


def test_audio_comes_back_as_it_was(tmp_path: Path) -> None:
    """Also after its file is gone, while somebody has it open."""
    files = AudioFiles(tmp_path / "audio")
    files.write("job_1", AUDIO)
    read = files.read("job_1", AUDIO.warnings)
    files.delete("job_1")
    files.delete("job_1")

    assert AUDIO.pcm.tolist() == read.pcm.tolist()
    assert AUDIO.warnings == read.warnings
    with pytest.raises(FileNotFoundError):
        files.read("job_1", ())


def test_no_other_user_reads_it(tmp_path: Path) -> None:
    """Whatever the process lets others do elsewhere."""
    before = os.umask(0)
    try:
        AudioFiles(tmp_path / "audio").write("job_1", AUDIO)
    finally:
        os.umask(before)

    assert 0o600 == (tmp_path / "audio" / "job_1").stat().st_mode & 0o777


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk may be full at any point."""
    files = AudioFiles(tmp_path / "audio")

    def full(_descriptor: int) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        files.write("job_1", AUDIO)

    assert [] == names(tmp_path)


def test_files_are_synced_before_they_have_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And their folder after it."""
    files = AudioFiles(tmp_path / "audio")
    seen: list[tuple[bool, list[str]]] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        folder = Path(f"/proc/self/fd/{descriptor}").is_dir()
        seen.append((folder, names(tmp_path)))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    files.write("job_1", AUDIO)

    assert [(False, ["job_1.part"]), (True, ["job_1"])] == seen


def test_old_files_are_found(tmp_path: Path) -> None:
    """Unfinished ones, too; young ones may be another server's that is just writing."""
    files = AudioFiles(tmp_path / "audio")
    for name in ("old", "young"):
        files.write(name, AUDIO)
    (tmp_path / "audio" / "dead.part").touch()
    for name in ("old", "dead.part"):
        os.utime(tmp_path / "audio" / name, (1, 1))

    assert {"old", "dead.part"} == set(files.older_than(3_600))
