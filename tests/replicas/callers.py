"""Callers who send many short recordings through the proxy, each some of them twice at once.

Knows: the API, and which answers mean «again».
Must not know: how many servers there are.
"""

import io
import threading
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import av
import httpx
import numpy as np

from server.access.keys import new_key

ROUTE = "/v1/audio/transcriptions"
AUDIO = Path(__file__).parents[1] / "audio"
CLIP_SECONDS = 1.5
RATE = 16_000
AGAIN = {409, 503}
"""The same key is being worked on, or the one queue is locked for a moment."""

PATIENCE = 60.0


def clips() -> dict[str, bytes]:
    """WAV files of a second and a half, cut out of speech."""
    wanted = {"en-river.ogg": (0.0, 2.0), "pt-chuva.ogg": (0.0, 2.0)}
    return {
        f"{name}@{at:g}": _cut(AUDIO / name, at) for name, starts in wanted.items() for at in starts
    }


def _cut(path: Path, at: float) -> bytes:
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono", RATE)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    samples = np.concatenate([frame.to_ndarray().ravel() for frame in frames])
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes(samples[round(at * RATE) : round((at + CLIP_SECONDS) * RATE)].tobytes())
    return file.getvalue()


@dataclass(slots=True)
class Caller:
    """One key, and what became of what it sent."""

    name: str
    limits: str = ""
    clip_of: dict[str, str] = field(default_factory=dict)
    """By job: what was sent."""
    twice: list[set[str]] = field(default_factory=list)
    """The jobs of each recording that was sent twice at once: one each."""
    refused: list[str] = field(default_factory=list)
    key: str = ""
    record: str = ""

    def __post_init__(self) -> None:
        made = new_key(self.name)
        self.key, self.record = made.key, made.record + (f":::{self.limits}" if self.limits else "")

    def client(self, url: str) -> httpx.Client:
        """With its key."""
        return httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {self.key}"}, timeout=60
        )

    def submit(self, url: str, recordings: dict[str, bytes], count: int) -> None:
        """So many jobs, of each recording in turn; every tenth by two connections at once."""
        names = list(recordings)
        with self.client(url) as client, ThreadPoolExecutor(2) as pair:
            for number in range(count):
                name = names[number % len(names)]
                times = 2 if number % 10 == 0 else 1
                idempotency_key = f"{self.name}-{number}"
                answers = list(
                    pair.map(
                        lambda _: self._one(client, name, recordings[name], idempotency_key),  # noqa: B023 - done within the turn
                        range(times),
                    )
                )
                jobs = {a.headers["location"].rpartition("/")[2] for a in answers if a.is_success}
                self.refused += [a.json()["error"]["code"] for a in answers if not a.is_success]
                self.clip_of |= dict.fromkeys(jobs, name)
                if times == 2 and jobs:
                    self.twice.append(jobs)

    def _one(
        self, client: httpx.Client, name: str, audio: bytes, idempotency_key: str
    ) -> httpx.Response:
        end = time.monotonic() + PATIENCE
        while True:
            answer = client.post(
                ROUTE,
                files={"file": (name, audio)},
                data={"background": "true"},
                headers={"Idempotency-Key": idempotency_key},
            )
            if answer.status_code not in AGAIN or time.monotonic() > end:
                return answer
            time.sleep(0.2)


def asked_meanwhile(caller: Caller, url: str, audio: bytes, stop: threading.Event) -> list[object]:
    """What a person's telephone gets who waits for each text and never asks twice."""
    found: list[object] = []
    with caller.client(url) as client:
        while not stop.is_set():
            try:
                answer = client.post(
                    ROUTE, files={"file": ("phone.wav", audio)}, data={"response_format": "text"}
                )
                found.append(answer.text if answer.is_success else answer.status_code)
            except httpx.TransportError as error:
                found.append(type(error).__name__)
            time.sleep(0.5)
    return found
