"""A whole recording in `accurate` mode against `whisper.transcribe`, both greedy.

Both go from timestamp to timestamp and give each window the text before it. What may differ:
openai-whisper computes the features of the whole recording at once, so that their floor is 8
below the loudest place of all and what follows the audio is filled up with 0; ours are computed
window by window, with silence after the audio, as the encoder was trained. Where the model stops
early, ours goes on only if there is sound left; and nothing of ours ends after the audio.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from server.decoding.tokenizer import Tokenizer
from server.engines.ctranslate2 import CTranslate2Engine
from server.scheduler import Scheduler
from server.transcribe import Transcriber
from server.types import Audio, Samples, TranscriptionOptions


@pytest.mark.parametrize("name", ["en-long", "pt-long"])
def test_a_long_recording_becomes_the_same_transcript(
    engine: CTranslate2Engine,
    tokenizer: Tokenizer,
    clips: Mapping[str, Samples],
    heard: Callable[[str], Any],
    name: str,
) -> None:
    """The text, the windows, and each segment's start within 0.1 s."""
    pcm = np.round(clips[name] * 32768).astype(np.int16)
    options = TranscriptionOptions(
        mode="accurate", language=name[:2], temperatures=(0.0,), beam_size=1
    )
    transcriber = Transcriber(Scheduler(engine), tokenizer)
    ours = asyncio.run(transcriber.transcribe(Audio(pcm), options))
    theirs = heard(name)
    assert theirs.text.strip() == ours.text
    assert [each["seek"] for each in theirs.segments] == [each.seek for each in ours.segments]
    starts = [segment["start"] for segment in theirs.segments]
    assert starts == pytest.approx([segment.start for segment in ours.segments], abs=0.1)
