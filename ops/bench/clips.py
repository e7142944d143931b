"""What is sent: short clips, and a long recording made of a shorter one if need be.

Knows: folders with a `manifest.tsv`, in the forms of `tests/audio` and of `ops accuracy`.
Must not know: who transcribes them.
"""

import csv
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ops.accuracy.manifest import NO_LANGUAGE, Clip
from ops.bench.options import BenchError
from server.types import SAMPLE_RATE

MAX_SHORT = 15.0
MIN_SHORT = 3.0
"""Seconds of a short clip."""

PAUSE = 1.0
"""Seconds between the repetitions that make a long recording."""


def read_clips(folder: Path) -> list[Clip]:
    """The clips with speech that a folder's manifest lists.

    Raises:
        BenchError: there is no usable manifest.
    """
    try:
        with (folder / "manifest.tsv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        clips = [
            Clip(
                path=folder / row["file"],
                language=row["language"],
                seconds=float(row.get("seconds") or row["duration"]),
                reference=row.get("reference") or row.get("text") or "",
                split=row.get("split") or "",
                kind=row.get("kind") or "",
            )
            for row in rows
        ]
    except OSError as error:
        raise BenchError(f"{folder}/manifest.tsv: {error.strerror}") from error
    except (KeyError, ValueError) as error:
        raise BenchError(f"{folder}/manifest.tsv has no columns file, language, seconds") from error
    return [clip for clip in clips if clip.is_speech and clip.language != NO_LANGUAGE]


def choose_short(clips: Sequence[Clip], count: int) -> list[Clip]:
    """Up to `count` clips of 3 to 15 s, in the manifest's order.

    Raises:
        BenchError: there is none.
    """
    short = [clip for clip in clips if MIN_SHORT <= clip.seconds <= MAX_SHORT][:count]
    if not short:
        raise BenchError(f"no clip has {MIN_SHORT:g} to {MAX_SHORT:g} s")
    return short


def make_long(clips: Sequence[Clip], seconds: float, folder: Path) -> Clip:
    """A recording of at least `seconds`: one of the clips, or the longest one over and over.

    Args:
        clips: where to choose from.
        seconds: the least length.
        folder: where to write it.
    """
    enough = [clip for clip in clips if clip.seconds >= seconds]
    if enough:
        return min(enough, key=lambda clip: clip.seconds)
    clip = max(clips, key=lambda clip: clip.seconds)
    times = int(seconds / (clip.seconds + PAUSE)) + 1
    pause = np.zeros(round(PAUSE * SAMPLE_RATE), np.int16)
    pcm = np.tile(np.concatenate([decode(clip.path), pause]), times)
    path = folder / f"{clip.path.stem}-x{times}.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm.tobytes())
    reference = " ".join([clip.reference] * times)
    return Clip(path, clip.language, len(pcm) / SAMPLE_RATE, reference, clip.split, clip.kind)


def decode(path: Path) -> npt.NDArray[np.int16]:
    """A file of our own choosing as int16, 16 kHz, mono; no sandbox, for nobody sent it."""
    import av  # noqa: PLC0415  only where a long file has to be made

    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
        pieces = [
            piece.to_ndarray().ravel()
            for frame in (*container.decode(audio=0), None)
            for piece in resampler.resample(frame)
        ]
    return np.concatenate(pieces)
