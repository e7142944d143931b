"""The edge around small stand-ins: a transcriber that says what a test wants, a loader that reads.

Admission, keys, Falcon, uvicorn and sockets are the real ones.
"""

import asyncio
import contextlib
import io
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from server.access.access import Access
from server.access.callers import Callers
from server.access.keys import Keyring, new_key
from server.admission import Admission, Bounds
from server.app import create_app
from server.audio.spool_space import SpoolSpace
from server.engines.base import EngineInfo, EngineStats
from server.engines.choice import Choice
from server.http.connections import ConnectionLimits
from server.http.listener import Listener, listen
from server.http.middleware import Edge
from server.http.models import Models
from server.http.probes import Readiness
from server.http.protocol import make_config
from server.jobs.jobs import Jobs
from server.kept import Keeper, Kept
from server.metrics.registry import Metrics
from server.metrics.state import Parts
from server.observe import logs
from server.settings import Settings
from server.types import (
    SAMPLE_RATE,
    Audio,
    OnProgress,
    OnSegments,
    Segment,
    TextToken,
    Transcript,
    TranscriptionOptions,
    TranscriptionStats,
    Word,
)

KEY = new_key("tester")
NARROW = new_key("narrow", scopes={"models"})
ADMIN = new_key("boss", scopes={"admin"})
METRICS = new_key("prometheus", scopes={"metrics"})
EXPIRED = new_key("old", expires=date(2020, 1, 1))


def text_tokens(*told: tuple[str, float]) -> tuple[TextToken, ...]:
    """Tokens with their probabilities."""
    return tuple(TextToken(text.encode(), probability) for text, probability in told)


TRANSCRIPT = Transcript(
    task="transcribe",
    language="pt",
    duration=3.25,
    text=" Olá, mundo. Tudo bem?",
    segments=(
        Segment(
            0,
            0,
            0.0,
            1.5,
            " Olá, mundo.",
            (1, 2),
            0.0,
            -0.25,
            1.1,
            0.01,
            text_tokens=text_tokens((" Olá", 0.9), (",", 0.8), (" mundo", 0.7), (".", 0.9)),
        ),
        Segment(
            1,
            0,
            1.5,
            3.25,
            " Tudo bem?",
            (3, 4),
            0.0,
            -0.5,
            1.2,
            0.02,
            text_tokens=text_tokens((" Tudo", 0.9), (" bem?", 0.9)),
        ),
    ),
    words=(
        Word(0.0, 0.6, " Olá,", 0.9),
        Word(0.6, 1.5, " mundo.", 0.8),
        Word(1.5, 2.2, " Tudo", 0.9),
        Word(2.2, 3.25, " bem?", 0.9),
    ),
    stats=TranscriptionStats(windows=1, fallbacks=0, dropped=0, queue_s=0.01, compute_s=0.2),
)


class StubEngine:
    """Only what the edge looks at."""

    def __init__(self) -> None:
        self.info = EngineInfo("stub", "base", 80, ("en", "pt", "de"), 8, seedable=False)
        self.healthy = True

    def stats(self) -> EngineStats:
        """Healthy until a test says otherwise."""
        return EngineStats(0, 0, self.healthy)


class StubTranscriber:
    """Answers with `transcript`, or raises `error`; `hold` makes it wait until it is cancelled."""

    def __init__(self) -> None:
        self.engine: Any = StubEngine()
        self.transcript = TRANSCRIPT
        self.error: Exception | None = None
        self.hold = False
        self.pause = 0.0
        self.started = threading.Event()
        self.cancelled = threading.Event()
        self.waiting = 0
        self.options: TranscriptionOptions | None = None
        self.key_id = ""

    async def transcribe(
        self,
        audio: Audio,
        options: TranscriptionOptions,
        *,
        deadline: float | None = None,
        key_id: str = "",
        on_progress: OnProgress | None = None,
        on_segments: OnSegments | None = None,
        background: bool = False,
        kept: Kept | None = None,
        keeper: Keeper | None = None,
    ) -> Transcript:
        """The transcript, in the task that was asked for."""
        self.options, self.key_id = options, key_id
        self.started.set()
        try:
            while self.hold:
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self.error is not None:
            raise self.error
        return replace(self.transcript, task=options.task)


class StubLoader:
    """Keeps the bytes that were uploaded; `seconds` of silence for any of them."""

    def __init__(self) -> None:
        self.healthy = True
        self.revivable = True
        self.error: Exception | None = None
        self.warnings: tuple[str, ...] = ()
        self.uploads: list[bytes] = []
        self.seconds = 1

    async def start(self) -> tuple[str, ...]:
        """Well again, unless a test forbids it."""
        if not self.revivable:
            raise RuntimeError("no")
        self.healthy = True
        return ()

    async def load(self, file_descriptor: int) -> Audio:
        """Read the file from its descriptor's own position, as a decoder would."""
        if self.error is not None:
            raise self.error
        size = os.fstat(file_descriptor).st_size
        self.uploads.append(os.read(file_descriptor, min(size, 1 << 20)))
        return Audio(np.zeros(self.seconds * SAMPLE_RATE, dtype=np.int16), self.warnings)


@dataclass
class Bench:
    """The application with its stand-ins at hand."""

    app: Edge
    transcriber: StubTranscriber
    loader: StubLoader
    admission: Admission
    readiness: Readiness
    transcribers: dict[str, Any]
    settings: Settings
    access: Access
    metrics: Metrics
    space: SpoolSpace
    jobs: Jobs | None = None
    log: io.StringIO = field(default_factory=io.StringIO)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request without a socket, with a good key unless `headers` say otherwise.

        Falcon's own client disconnects before the answer, which the edge takes seriously.
        """

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
                client.headers["Authorization"] = f"Bearer {KEY.key}"
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def lines(self, event: str = "request") -> list[dict[str, Any]]:
        """The log's lines of one kind."""
        every = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in every if line["event"] == event]


LOGS: list[io.StringIO] = []
OPEN: list[Access | Jobs] = []
"""Those of the test that runs; its end closes them."""


def build(spool_dir: Path, **overrides: Any) -> Bench:
    """An application whose settings differ from the defaults by `overrides`."""
    settings = Settings(spool_dir=spool_dir, **overrides)
    records = " ".join(key.record for key in (KEY, NARROW, ADMIN, METRICS, EXPIRED))
    transcriber, loader = StubTranscriber(), StubLoader()
    transcribers: dict[str, Any] = {"base": transcriber}
    models = Models(settings.models, transcribers)
    admission = Admission(Bounds.of(settings))
    chosen = {"base": Choice("ctranslate2", Path("/nowhere"), "weights", "no GPU", "no nvidia-smi")}
    readiness = Readiness(
        models,
        loader,
        admission,
        chosen,
    )
    callers = Callers(Keyring.parse(records, today=lambda: date(2026, 1, 1)))
    access = Access.open(settings, callers)
    OPEN.append(access)
    space = SpoolSpace(settings.max_spool_bytes)
    jobs = None
    if settings.jobs_dir is not None:
        jobs = Jobs(settings, access, transcribers)
        OPEN.append(jobs)
    metrics = Metrics(
        Parts(settings.models, transcribers, admission, loader, access.windows, chosen, jobs)
    )
    app = create_app(
        settings,
        access=access,
        models=models,
        loader=loader,
        admission=admission,
        readiness=readiness,
        space=space,
        metrics=metrics,
        jobs=jobs,
        now=lambda: 1_700_000_000.5,
    )
    parts = (app, transcriber, loader, admission, readiness, transcribers)
    bench = Bench(*parts, settings, access, metrics, space, jobs)
    logs.configure("info", bench.log)
    LOGS.append(bench.log)
    return bench


BOUNDARY = "x9boundary9x"


def form(*parts: tuple[str, bytes | str] | bytes) -> bytes:
    """A multipart body; a part is (headers after `name=`, value) or raw bytes."""
    body = b""
    for part in parts:
        if isinstance(part, bytes):
            body += part
            continue
        name, value = part
        data = value.encode() if isinstance(value, str) else value
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
        body += data + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


FILE = ('file"; filename="a.mp3', b"ID3 audio bytes")
FORM_TYPE = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def post(
    bench: Bench, *parts: tuple[str, bytes | str] | bytes, path: str = "", **headers: str
) -> httpx.Response:
    """POST a form; underscores in header names become dashes."""
    path = path or "/v1/audio/transcriptions"
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return bench.request("POST", path, content=form(*parts), headers={**FORM_TYPE, **more})


def error_of(response: httpx.Response) -> dict[str, Any]:
    """OpenAI's error body, with exactly its four keys."""
    body = response.json()
    assert ["error"] == list(body)
    assert ["message", "type", "param", "code"] == list(body["error"])
    return dict(body["error"])


@contextlib.contextmanager
def serving(bench: Bench) -> Iterator[tuple[int, Listener]]:
    """The application on a real socket, in a thread of its own; yields port and listener."""
    sock = listen("127.0.0.1", 0)
    config = make_config(
        bench.app,
        limits=ConnectionLimits.of(bench.settings),
        drain_timeout=bench.settings.drain_timeout,
    )
    listener = Listener(
        config,
        on_stop=bench.readiness.drain,
        on_close=bench.readiness.close,
        grace=bench.settings.drain_grace,
    )
    thread = threading.Thread(target=asyncio.run, args=(listener.serve(sockets=[sock]),))
    thread.start()
    try:
        yield sock.getsockname()[1], listener
    finally:
        bench.transcriber.hold = False
        listener.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()


def eventually(true: Callable[[], bool], within: float = 5.0) -> bool:
    """Whether it becomes true in time."""
    end = time.monotonic() + within
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A raw connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        yield client


def read_response(client: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One HTTP/1.1 response with Content-Length: status, headers, body."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(65536)
        if not piece:
            raise ConnectionError(f"closed after {data!r}")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += client.recv(65536)
    return int(status.split()[1]), headers, body


def head(method: str = "POST", path: str = "/v1/audio/transcriptions", **headers: str) -> bytes:
    """A request's head with a good key; underscores in header names become dashes."""
    lines = {"Host": "x", "Authorization": f"Bearer {KEY.key}", **FORM_TYPE}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{text}\r\n".encode()
