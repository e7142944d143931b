"""How much of Whisper's 30-s view a short window is given, and when that was too little.

Knows: frames, and how a text gives away that the decoder has lost its way.
Must not know: engines, how a window is decoded again.

Whisper was trained on views of 30 s, filled up with silence. The encoder and each step of the
decoder cost in proportion to the view, so a short window is shown little more than itself. Mostly
the text is the same; now and then the decoder, which has never seen the sound end so soon, starts
again from the beginning. So whatever looks odd is decoded again in the whole view, which decides.
"""

import math

from server.decoding.guard import is_suspect, plain
from server.types import FRAMES_PER_SECOND, DecodingResult, TranscriptionOptions

WHOLE = 3000
"""Frames of the whole view."""

MARGIN = 4.0
"""Seconds of silence that are shown after the sound: with two, twice as many texts start again."""

MIN_VIEW = 10.0
"""Seconds: a second or two of sound fares badly in less, and less saves little."""

STEP = 3.0
"""Seconds: views of equal length share a batch, so there are few lengths."""

WORTH_IT = 27.0
"""Seconds of view from which the whole one costs hardly more."""

MAX_CHARACTERS_A_SECOND = 25.0
"""Nobody speaks that fast; a sentence that is written twice comes near it."""

MAX_COMPRESSION_RATIO = 1.9
"""Well below openai-whisper's gate: plain text of a short window is below 1.7."""

MIN_LOGPROB = -0.8
"""Likewise."""

MIN_REPEATED = 5
"""Letters at the end that say what the ones before them said; people say «yeah, yeah», too."""


def view_frames(duration: float, min_frames: int) -> int:
    """Log-mel frames to show of a window.

    Args:
        duration: seconds of sound in the window.
        min_frames: what the engine takes at least.

    Returns: an even number between `min_frames` and 3000.
    """
    steps = math.ceil((duration + MARGIN - MIN_VIEW) / STEP)
    view = MIN_VIEW + max(0, steps) * STEP
    if view >= WORTH_IT:
        return WHOLE
    return max(min_frames, round(view * FRAMES_PER_SECOND))


def has_lost_its_way(
    result: DecodingResult, options: TranscriptionOptions, duration: float
) -> bool:
    """Whether a text from a fitted view has to be checked in the whole one.

    Args:
        result: the first attempt.
        options: the caller's thresholds.
        duration: seconds of sound in the window.
    """
    return (
        is_suspect(result, options)
        or result.avg_logprob < MIN_LOGPROB
        or result.compression_ratio > MAX_COMPRESSION_RATIO
        or len(result.text) > MAX_CHARACTERS_A_SECOND * duration
        or not plain(result.text)
        or repeats_its_end(result.text)
    )


def repeats_its_end(text: str) -> bool:
    """Whether the text ends with the same thing twice; spaces and marks do not count."""
    letters = plain(text).replace(" ", "")
    return any(
        letters.endswith(letters[-2 * size : -size])
        for size in range(MIN_REPEATED, len(letters) // 2 + 1)
    )
