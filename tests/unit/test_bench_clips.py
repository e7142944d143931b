"""Clips: both kinds of manifest, short ones, and a long one made of a shorter one."""

import wave
from pathlib import Path

import numpy as np
import pytest

from ops.bench.clips import choose_short, decode, make_long, read_clips
from ops.bench.options import BenchError, Options

ROOM = Options.clips


def test_our_own_clips_are_found() -> None:
    """With language, length and reference."""
    clips = read_clips(ROOM)
    assert ["en-meeting.ogg", "en-river.ogg"] == [clip.name for clip in choose_short(clips, 2)]
    assert ("en", 4.41) == (clips[0].language, clips[0].seconds)
    assert clips[0].reference.startswith("The meeting starts")


def test_a_manifest_of_the_accuracy_command_will_do(tmp_path: Path) -> None:
    """Silence is left out, for it tells nothing of speed."""
    (tmp_path / "manifest.tsv").write_text(
        "file\tlanguage\tseconds\treference\tkind\na.flac\ten\t4.5\tHi.\tread\nb.flac\txx\t5\t\tnoise\n"
    )
    (clip,) = read_clips(tmp_path)
    assert (tmp_path / "a.flac", 4.5, "Hi.") == (clip.path, clip.seconds, clip.reference)


@pytest.mark.parametrize("table", [None, "a\tb\n1\t2\n", "file\tlanguage\tseconds\na\ten\tlong\n"])
def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path, table: str | None) -> None:
    """No table, other columns, no number."""
    if table is not None:
        (tmp_path / "manifest.tsv").write_text(table)
    with pytest.raises(BenchError, match=r"manifest\.tsv"):
        read_clips(tmp_path)


def test_without_short_clips_nothing_can_be_measured() -> None:
    """The limits are told."""
    with pytest.raises(BenchError, match="3 to 15 s"):
        choose_short([clip for clip in read_clips(ROOM) if clip.seconds > 15], 2)


def test_a_long_recording_is_made_of_the_longest_clip(tmp_path: Path) -> None:
    """As often as it takes, with a pause in between, and its reference as often."""
    clips = read_clips(ROOM)
    long = make_long(clips, 140, tmp_path)
    pcm = decode(ROOM / "pt-long.ogg")
    with wave.open(str(long.path)) as file:
        written = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    assert 3 * (len(pcm) + 16_000) == len(written)
    assert long.seconds == len(written) / 16_000
    assert 3 == long.reference.count("violão")


def test_a_clip_that_is_long_enough_is_taken_as_it_is(tmp_path: Path) -> None:
    """The shortest of them; nothing is written."""
    assert "en-long.ogg" == make_long(read_clips(ROOM), 60, tmp_path).name
    assert [] == list(tmp_path.iterdir())
