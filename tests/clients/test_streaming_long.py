"""Ten minutes of speech as a stream, by OpenAI's Python SDK from the real model."""

import time
import wave
from collections.abc import Iterator
from pathlib import Path

import av
import openai
import pytest
from server_process import KEY, ROOT, launcher

pytestmark = pytest.mark.timeout(600)

LONG = ROOT / "tests/audio/en-long.ogg"
SECONDS = 600


@pytest.fixture
def sdk(weights_dir: Path, tmp_path: Path) -> Iterator[openai.OpenAI]:
    """A client of a server as users have it."""
    with launcher(tmp_path) as launch:
        server = launch("-m", "server", SUSSURRO_WEIGHTS_DIR=str(weights_dir)).ready()
        with openai.OpenAI(
            api_key=KEY.key, base_url=f"{server.url}/v1", max_retries=0, timeout=500
        ) as client:
            yield client


@pytest.fixture
def ten_minutes(tmp_path: Path) -> Path:
    """The long recording, again and again."""
    resampler = av.AudioResampler("s16", "mono", 16_000)
    with av.open(str(LONG)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    pcm = b"".join(bytes(frame.planes[0])[: frame.samples * 2] for frame in frames)
    path = tmp_path / "ten-minutes.wav"
    with wave.open(str(path), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes((pcm * (SECONDS * 32_000 // len(pcm) + 1))[: SECONDS * 32_000])
    return path


def test_ten_minutes_begin_to_arrive_early(sdk: openai.OpenAI, ten_minutes: Path) -> None:
    """The first delta before 15 % of the time; the deltas are the text, streamed or not."""
    started = time.monotonic()
    first = None
    deltas = []
    for event in sdk.audio.transcriptions.create(file=ten_minutes, model="whisper-1", stream=True):
        first = first or time.monotonic() - started
        if event.type == "transcript.text.delta":
            deltas.append(event.delta)
    total = time.monotonic() - started
    whole = sdk.audio.transcriptions.create(file=ten_minutes, model="whisper-1")

    assert event.type == "transcript.text.done"
    assert event.text == "".join(deltas) == whole.text
    assert 1000 < len(whole.text.split())
    assert first is not None
    assert first < 0.15 * total, (first, total)
