"""The real model and the real media sandbox, shared by all tests here."""

import asyncio
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from spoken import Clip, Transcribe

from server.audio.loader import Loader
from server.decoding.tokenizer import Tokenizer
from server.engines import ctranslate2
from server.scheduler import Scheduler
from server.transcribe import Transcriber
from server.types import Audio, Transcript, TranscriptionOptions

AUDIO = Path(__file__).parents[1] / "audio"


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Clip]:
    """All committed clips by name, as the sandboxed child decodes them."""

    async def story() -> dict[str, Clip]:
        loader = Loader(
            spool_dir=tmp_path_factory.mktemp("spool"),
            max_audio_seconds=100.0,
            load_timeout=30.0,
            max_loads=1,
            sandbox="available",
        )
        await loader.start()
        found = {}
        with (AUDIO / "manifest.tsv").open(encoding="utf-8") as lines:
            for row in csv.DictReader(lines, delimiter="\t"):
                with (AUDIO / row["file"]).open("rb") as file:
                    audio = await loader.load(file.fileno())
                name = Path(row["file"]).stem
                pcm = np.array(audio.pcm)
                found[name] = Clip(row["language"], row["text"], pcm, _starts(name))
        await loader.close()
        return found

    return asyncio.run(story())


def _starts(name: str) -> tuple[float, ...]:
    path = AUDIO / f"{name}.tsv"
    if not path.exists():
        return ()
    with path.open(encoding="utf-8") as lines:
        return tuple(float(row["start"]) for row in csv.DictReader(lines, delimiter="\t"))


@pytest.fixture(scope="session")
def transcribe(weights_dir: Path) -> Iterator[Transcribe]:
    """`transcribe(pcm, **options)` on Whisper base, greedy unless told otherwise."""
    engine = ctranslate2.load(
        "base", weights_dir / "base", compute_type="int8", workers=0, threads=1, max_batch_size=8
    )
    tokenizer = Tokenizer.load(weights_dir / "base" / "tokenizer.json")

    def run(pcm: np.ndarray, **options: object) -> Transcript:
        wanted = TranscriptionOptions(**({"beam_size": 1} | options))  # type: ignore[arg-type]

        async def story() -> Transcript:
            transcriber = Transcriber(Scheduler(engine), tokenizer)
            return await transcriber.transcribe(Audio(pcm), wanted)

        return asyncio.run(story())

    yield run
    engine.close(5)
