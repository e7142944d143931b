"""What callers do, all at once: good, bad, hurried and greedy ones."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from server_process import KEY, noise

from server.access.keys import NewKey

ROOT = Path(__file__).parents[2]
CLIPS = sorted((ROOT / "tests/audio").glob("*-[kmrc]*.ogg"))
FORMATS = ("json", "verbose_json", "text", "srt", "vtt")


def during(seconds: float, url: str, limited: NewKey) -> None:
    """All of them until the time is over."""
    ends = time.monotonic() + seconds
    parts: list[tuple[Callable[[httpx.Client, int], object], float]] = [
        (_transcribe, 0.0),
        (_transcribe, 0.0),
        (_translate, 3.0),
        (_burst, 5.0),
        (_leave, 2.0),
        (_no_media, 1.0),
        (_noise, 6.0),
        (_job, 3.0),
        (_bad_key, 0.1),
        (lambda client, _: _models(client, limited.key), 0.5),
    ]
    threads = [
        threading.Thread(target=_repeat, args=(part, pause, url, ends)) for part, pause in parts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _repeat(
    part: Callable[[httpx.Client, int], object], pause: float, url: str, ends: float
) -> None:
    headers = {"Authorization": f"Bearer {KEY.key}"}
    number = 0
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        while time.monotonic() < ends:
            part(client, number)
            number += 1
            time.sleep(pause)


def _post(client: httpx.Client, data: bytes, task: str = "transcriptions", **fields: str) -> int:
    answer = client.post(
        f"/v1/audio/{task}", files={"file": ("x", data)}, data={"model": "whisper-1", **fields}
    )
    return answer.status_code


def _transcribe(client: httpx.Client, number: int) -> None:
    _post(
        client,
        CLIPS[number % len(CLIPS)].read_bytes(),
        response_format=FORMATS[number % len(FORMATS)],
    )


def _translate(client: httpx.Client, number: int) -> None:
    _post(client, CLIPS[-1 - number % 3].read_bytes(), "translations")


def _burst(client: httpx.Client, _number: int) -> None:
    """More than the server has places and seats for."""
    data = CLIPS[0].read_bytes()
    threads = [threading.Thread(target=_post, args=(client, data)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _leave(client: httpx.Client, _number: int) -> None:
    """Give up after a moment, with the upload done."""
    try:
        client.post(
            "/v1/audio/transcriptions",
            files={"file": ("x", CLIPS[0].read_bytes())},
            timeout=httpx.Timeout(60, read=0.15),
        )
    except httpx.TimeoutException:
        return


def _no_media(client: httpx.Client, number: int) -> None:
    _post(client, b"no recording" * 99 if number % 2 else b"#EXTM3U\nsecret.wav\n")


def _job(client: httpx.Client, turn: int) -> None:
    """A job whose webhook nobody takes; more come than are done at once."""
    file = {"file": ("x", CLIPS[turn % len(CLIPS)].read_bytes())}
    form = {"background": "true", "webhook_url": "http://127.0.0.1:9/"}
    client.post("/v1/audio/transcriptions", files=file, data=form)


def _noise(client: httpx.Client, _number: int) -> None:
    """Nobody speaks: texts are left out."""
    _post(client, noise(8.0), response_format="text")


def _bad_key(client: httpx.Client, _number: int) -> None:
    client.get("/v1/models", headers={"Authorization": "Bearer wsk_nobody"})


def _models(client: httpx.Client, key: str) -> None:
    client.get("/v1/models", headers={"Authorization": f"Bearer {key}"})
