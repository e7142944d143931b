"""A model becomes a transcriber: its engine opened, its tokenizer read, both warmed.

Knows: which of the settings each engine takes, and that loading blocks for minutes.
Must not know: which engine serves a model, when the process starts or stops.
"""

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import structlog

from server.decoding.prompt import build_prompt
from server.decoding.tokenizer import Tokenizer
from server.engines import ctranslate2, tensorrt_llm
from server.engines.base import Engine
from server.engines.choice import Choice
from server.errors import EngineError
from server.http.parts import Transcriber as AnyTranscriber
from server.scheduler import Scheduler
from server.settings import Settings
from server.transcribe import Transcriber
from server.types import SAMPLE_RATE, Audio, TranscriptionOptions

LoadModel = Callable[[str], AnyTranscriber]
"""Blocking; runs in a thread."""

T = TypeVar("T")


def load_model(settings: Settings, chosen: Mapping[str, Choice], name: str) -> Transcriber:
    """One model with its tokenizer, scheduler and engine; blocks for as long as loading takes."""
    folder = chosen[name].folder
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    load = {"tensorrt_llm": _load_on_gpu, "ctranslate2": _load_on_cpu, "ray": _load_on_ray}[
        chosen[name].engine
    ]
    return Transcriber(Scheduler(load(settings, name, folder, tokenizer)), tokenizer)


def _load_on_gpu(settings: Settings, name: str, folder: Path, tokenizer: Tokenizer) -> Engine:
    return tensorrt_llm.load(
        name,
        folder,
        tokenizer,
        devices=settings.gpus,
        aligner_weights=_aligner_weights(settings, name),
        window_timeout=settings.engine_window_timeout,
        hashed=True,  # by the choice, a moment ago
    )


def _aligner_weights(settings: Settings, name: str) -> Path | None:
    if settings.aligner_weights_dir is None:
        return None
    folder = settings.aligner_weights_dir.expanduser()
    checkpoint = folder / f"{name}.pt"
    return checkpoint if checkpoint.is_file() else folder / name


def _load_on_cpu(settings: Settings, name: str, folder: Path, _tokenizer: Tokenizer) -> Engine:
    return ctranslate2.load(
        name,
        folder,
        compute_type=settings.compute_type,
        workers=settings.cpu_workers or len(os.sched_getaffinity(0)),
        threads=settings.cpu_threads,
        max_batch_size=settings.max_batch_size,
        window_timeout=settings.engine_window_timeout,
        encoder=settings.encoder,
    )


def _load_on_ray(settings: Settings, name: str, folder: Path, tokenizer: Tokenizer) -> Engine:
    try:
        from server.engines import ray_cluster  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise EngineError(
            f"SUSSURRO_ENGINE is ray, which needs requirements/ray.txt ({error.name} is missing)"
        ) from error
    # What goes to other machines is this call, and none of the settings beside it.
    engine = (_gpu_member if settings.ray_gpus else _cpu_member)(settings, name, folder, tokenizer)
    return ray_cluster.load(
        engine,
        build_prompt(tokenizer, "en", "transcribe", without_timestamps=True),
        address=settings.ray_address,
        cpus=settings.ray_cpus,
        gpus=settings.ray_gpus,
        least=settings.ray_min_engines,
        most=settings.ray_max_engines,
        window_timeout=settings.engine_window_timeout,
    )


def _cpu_member(
    settings: Settings, name: str, folder: Path, _tokenizer: Tokenizer
) -> Callable[[], Engine]:
    return partial(
        ctranslate2.load,
        name,
        folder,
        compute_type=settings.compute_type,
        workers=max(1, settings.ray_cpus // settings.cpu_threads),
        threads=settings.cpu_threads,
        max_batch_size=settings.max_batch_size,
        window_timeout=settings.engine_window_timeout,
        encoder=settings.encoder,
    )


def _gpu_member(
    settings: Settings, name: str, folder: Path, tokenizer: Tokenizer
) -> Callable[[], Engine]:
    """Ray shows an actor the GPUs that it has given it, and no others: CUDA counts them from 0."""
    return partial(
        tensorrt_llm.load,
        name,
        folder,
        tokenizer,
        devices=tuple(range(settings.ray_gpus)),
        aligner_weights=_aligner_weights(settings, name),
        window_timeout=settings.engine_window_timeout,
    )


async def load_all(
    names: Sequence[str], load: LoadModel, transcribers: dict[str, AnyTranscriber]
) -> None:
    """Load and warm one model after the other; each can be used as soon as it is warm.

    What is there then stays for good, so Python's garbage collector need not look at it again:
    going over all of it stopped every thread for 85 to 150 ms, once or twice in a long recording.
    """
    for name in names:
        started = time.monotonic()
        transcriber = await _in_daemon_thread(partial(load, name))
        await transcriber.transcribe(_noise(), TranscriptionOptions(language="en"))
        gc.freeze()
        transcribers[name] = transcriber
        structlog.get_logger().info("ready", model=name, seconds=round(time.monotonic() - started))


def _noise() -> Audio:
    """A second of noise, loud enough not to pass for silence, so that the engine has to work."""
    noise = np.random.default_rng(0).normal(0.0, 3000.0, SAMPLE_RATE)
    return Audio(noise.astype(np.int16))


async def _in_daemon_thread(call: Callable[[], T]) -> T:
    """As `asyncio.to_thread`, but a stop does not wait for it: loading may take minutes."""
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True, name="load").start()
    return await asyncio.wrap_future(outcome)
