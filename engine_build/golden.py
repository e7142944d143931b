"""Reference clips with their words, as windows that an engine can be asked about.

Knows: a table of clips beside their files (`file`, `language`, `text`).
Must not know: engines.
"""

import asyncio
import csv
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine_build.errors import GateError
from server.audio.features import N_SAMPLES, log_mel
from server.audio.loader import Loader, SandboxUnavailable
from server.errors import ServerError
from server.types import Audio, LogMel

LOAD_TIMEOUT = 60.0
MAX_AUDIO_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class GoldenWindow:
    """At most 30 s of speech; `text` is what is said in it."""

    name: str
    language: str
    text: str
    features: LogMel


def read_golden(table: Path, n_mels: int) -> tuple[GoldenWindow, ...]:
    """The clips of the table that fit into one window.

    Raises:
        GateError: the table or a clip cannot be read, or no clip fits.
    """
    try:
        with table.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t"))
        audios = asyncio.run(_load([table.parent / row["file"] for row in rows]))
        windows = tuple(_windows(rows, audios, n_mels))
    except (OSError, KeyError, ServerError, SandboxUnavailable) as error:
        raise GateError(f"the reference clips of {table} cannot be read: {error}") from error
    if not windows:
        raise GateError(f"{table} has no clip of at most 30 s")
    return windows


def _windows(
    rows: list[dict[str, str]], audios: list[Audio], n_mels: int
) -> Iterator[GoldenWindow]:
    for row, audio in zip(rows, audios, strict=True):
        if len(audio.pcm) <= N_SAMPLES:
            features = log_mel(audio.samples(0, N_SAMPLES), n_mels)
            yield GoldenWindow(row["file"], row["language"], row["text"], features)


async def _load(paths: list[Path]) -> list[Audio]:
    with tempfile.TemporaryDirectory() as spool:
        loader = Loader(
            spool_dir=Path(spool),
            max_audio_seconds=MAX_AUDIO_SECONDS,
            load_timeout=LOAD_TIMEOUT,
            max_loads=1,
            sandbox="available",
        )
        try:
            await loader.start()
            audios = []
            for path in paths:
                with path.open("rb") as file:
                    audios.append(await loader.load(file.fileno()))
        finally:
            await loader.close()
    return audios
