"""One long recording over two nodes."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from cluster_engines import STORE, base, join
from ray.cluster_utils import Cluster

from server.decoding.tokenizer import Tokenizer
from server.engines.base import Engine
from server.scheduler import Scheduler
from server.transcribe import Transcriber
from server.types import Audio, TranscriptionOptions

CLIP = Path(__file__).parents[1] / "audio" / "en-long.ogg"


def recording(times: int) -> Audio:
    """The clip, over and over."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    with av.open(str(CLIP)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return Audio(np.tile(np.concatenate([frame.to_ndarray()[0] for frame in frames]), times))


def text(engine: Engine, tokenizer: Tokenizer, audio: Audio) -> str:
    options = TranscriptionOptions(language="en", beam_size=1)
    return asyncio.run(Transcriber(Scheduler(engine), tokenizer).transcribe(audio, options)).text


def test_one_recording_uses_all_engines(
    cluster: Cluster,
    tokenizer: Tokenizer,
    prompt: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its windows go to both in equal parts, and the text is what one engine here gives."""
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=STORE)
    audio = recording(4)
    here = base()
    expected = text(here, tokenizer, audio)
    here.close(2)
    engine = join(cluster, prompt, least=2)
    windows: Counter[int] = Counter()
    settled = engine._roster.settled

    def count(hand: Any, call: Any, answer: Any) -> None:
        windows[hand.number] += call.kind == "generate"
        settled(hand, call, answer)

    monkeypatch.setattr(engine._roster, "settled", count)
    try:
        assert expected == text(engine, tokenizer, audio)
    finally:
        engine.close(2)
    assert 2 == len(windows)
    assert min(windows.values()) >= 0.35 * windows.total(), windows
