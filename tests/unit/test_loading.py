"""Models as they are loaded: warmed, then left alone by the garbage collector."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from server.engines.fake import FakeEngine, byte_tokenizer
from server.loading import load_all
from server.scheduler import Scheduler
from server.transcribe import Transcriber
from server.types import Hypothesis

TOKENIZER = byte_tokenizer()


@pytest.fixture
def thawed() -> Iterator[None]:
    """What is frozen here is not for the other tests."""
    assert 0 == gc.get_freeze_count()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("thawed")
def test_what_is_loaded_costs_no_garbage_collection() -> None:
    """Each model answers a first window, and all objects so far are out of the collector's way."""
    engines = [FakeEngine(lambda _: Hypothesis(TOKENIZER.encode(" oi"), -0.4)) for _ in range(2)]
    left = iter(engines)
    found: dict[str, Transcriber] = {}

    def load(_name: str) -> Transcriber:
        return Transcriber(Scheduler(next(left)), TOKENIZER)

    asyncio.run(load_all(["base", "small"], load, found))  # type: ignore[arg-type]
    assert ["base", "small"] == list(found)
    assert all(engine.requests for engine in engines)
    assert gc.get_freeze_count() > 10_000
    assert len(gc.get_objects()) < gc.get_freeze_count() / 10
    for engine in engines:
        engine.close(1)
