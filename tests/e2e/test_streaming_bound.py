"""How soon a long recording's text begins to come, and that it is the same text.

`./just contract` runs it, on SUSSURRO_TEST_RECORDING or on a recording of the tests over and over.
In the suite tests/unit/test_transcribe.py counts windows instead of seconds.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from server_process import ROOT, Process

RECORDING = os.environ.get("SUSSURRO_TEST_RECORDING", "")
LONG = "SUSSURRO_TEST_EXAMPLES" in os.environ
MINUTES = 10.0
SOON = 0.15
"""Of the whole time, in which the first delta has to come."""


@pytest.fixture(scope="module")
def server(weights_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The real server with the real model."""
    environ = {"SUSSURRO_WEIGHTS_DIR": str(weights_dir), "SUSSURRO_MODELS": "base"}
    with contextlib.ExitStack() as stack:
        process = Process(["-m", "server"], environ, tmp_path_factory.mktemp("server"))
        stack.callback(process.popen.wait, 30)
        stack.callback(process.popen.kill)
        yield process.ready()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten minutes of speech."""
    if RECORDING:
        return Path(RECORDING)
    resampler = av.AudioResampler("s16", "mono", 16_000)
    with av.open(str(ROOT / "tests/audio/en-long.ogg")) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    pcm = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    repeated = np.tile(pcm, int(np.ceil(MINUTES * 60 * 16_000 / len(pcm))))
    path = tmp_path_factory.mktemp("audio") / "ten-minutes.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            repeated[None, : round(MINUTES * 60 * 16_000)], format="s16", layout="mono"
        )
        frame.sample_rate = 16_000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return path


def streamed_and_whole(
    server: Process, recording: Path
) -> tuple[float, float, list[str], str, str]:
    """When the first delta came, when the last event; the deltas, and the text both ways."""
    url, fields = "/v1/audio/transcriptions", {"model": "whisper-1", "language": "en"}
    with server.client() as client:
        client.timeout = 3_000
        with recording.open("rb") as file:
            started = time.monotonic()
            streamed = {"data": {**fields, "stream": "true"}, "files": {"file": file}}
            with client.stream("POST", url, **streamed) as answer:
                told = [
                    (time.monotonic() - started, json.loads(line[6:]))
                    for line in answer.iter_lines()
                    if line.startswith("data: ")
                ]
        with recording.open("rb") as file:
            whole = client.post(url, data=fields, files={"file": file}).json()["text"]
    (first, _), (total, done) = told[0], told[-1]
    deltas = [event["delta"] for _, event in told[:-1]]
    sys.stdout.write(
        f"first delta {first:.2f} s of {total:.2f} s: {first / total:.1%}; {len(deltas)} deltas\n"
    )
    return first, total, deltas, done["text"], whole


@pytest.mark.model
@pytest.mark.timeout(3_600)
@pytest.mark.skipif(not LONG, reason="takes minutes: ./just contract")
def test_the_text_of_ten_minutes_begins_to_come_soon(server: Process, recording: Path) -> None:
    """Before 15 % of the whole time; and the deltas are the text, streamed or not."""
    first, total, deltas, text, whole = streamed_and_whole(server, recording)

    assert first < SOON * total
    assert text == "".join(deltas) == whole
