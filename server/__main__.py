"""`python -m server`: settings → logs → sandbox → socket → models → requests → a clean end.

Knows: the order of starting and stopping, exit codes.
Must not know: how anything in between works.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
import structlog

from server.access.access import Access
from server.access.callers import Callers
from server.access.records import RecordsError
from server.admission import Admission, Bounds
from server.app import create_app
from server.audio.loader import Loader, SandboxUnavailable
from server.decoding.languages import LANGUAGES
from server.decoding.tokenizer import Tokenizer
from server.engines import ctranslate2, tensorrt_llm
from server.engines.base import Engine
from server.engines.choice import NO_MATCH, Choice, choose, here
from server.errors import EngineError
from server.http.listener import Listener, heed_hangups, listen
from server.http.models import Models
from server.http.parts import AsgiApp
from server.http.parts import Transcriber as AnyTranscriber
from server.http.probes import Readiness
from server.http.protocol import make_config
from server.observe import logs
from server.scheduler import Scheduler
from server.settings import EXIT_CONFIG, PREFIX, Settings, SettingsError
from server.transcribe import Transcriber
from server.types import SAMPLE_RATE, Audio, TranscriptionOptions

EXIT_FAILED = 1
"""Something broke that may be well next time: a supervisor should start us again."""

CLOSE_SECONDS = 1.0
"""For an engine to end what it computes; by then nobody waits for it."""

WATCH_SECONDS = 0.5
"""Between two looks at the engines."""

LoadModel = Callable[[str], AnyTranscriber]
"""Blocking; runs in a thread."""

T = TypeVar("T")


class ConfigError(Exception):
    """The server cannot start as it is set up; each problem is a line for a person."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the problems for whoever prints them."""
        super().__init__("\n".join(problems))
        self.problems = problems


def main(environ: Mapping[str, str]) -> int:
    """Run until stopped; the exit code: 0 stopped, 78 set up wrongly, 1 failed."""
    try:
        settings, callers = configure(environ)
        logs.configure(settings.log_level)
        chosen = choose_engines(settings)
        load = partial(load_model, settings, chosen)
        reload = partial(Callers.read, environ)
        return asyncio.run(serve(settings, callers, load, reload, chosen))
    except ConfigError as error:
        for problem in error.problems:
            print(f"sussurro: {problem}", file=sys.stderr)  # noqa: T201 - for a person at a shell
        return EXIT_CONFIG


def configure(environ: Mapping[str, str]) -> tuple[Settings, Callers]:
    """Settings, and who may call.

    Raises:
        ConfigError: with all that is wrong with either.
    """
    try:
        settings = Settings.from_env(environ)
    except SettingsError as error:
        raise ConfigError(error.problems) from None
    if problems := _unknown_languages(settings):
        raise ConfigError(problems)
    try:
        return settings, Callers.from_settings(settings)
    except RecordsError as error:
        raise ConfigError(error.problems) from None


def _unknown_languages(settings: Settings) -> list[str]:
    """Languages that Whisper does not know, by setting."""
    named = {"LANGUAGES": settings.languages, "DEFAULT_LANGUAGE": (settings.default_language,)}
    return [
        f"{PREFIX}{name}: Whisper knows no language `{code}`"
        for name, codes in named.items()
        for code in codes
        if code is not None and code not in LANGUAGES
    ]


def choose_engines(settings: Settings) -> dict[str, Choice]:
    """What serves each model here, checked byte by byte before anything is started.

    Raises:
        ConfigError: with every model that nothing can serve.
    """
    chosen: dict[str, Choice] = {}
    problems = []
    for name in settings.models:
        try:
            chosen[name] = choice = choose(
                name,
                settings.engine,
                engines=settings.engines_dir.expanduser(),
                weights=settings.weights_dir.expanduser() / name,
                running=partial(here, settings.gpus[0]),
            )
        except EngineError as error:
            problems.append(str(error))
            continue
        told = {"engine": choice.engine, "build": choice.build, "why": choice.why}
        log = structlog.get_logger()
        tell = log.warning if choice.why == NO_MATCH else log.info
        tell("engine_chosen", model=name, **told, detail=choice.detail)
    if problems:
        raise ConfigError(problems)
    return chosen


def load_model(settings: Settings, chosen: Mapping[str, Choice], name: str) -> Transcriber:
    """One model with its tokenizer, scheduler and engine; blocks for as long as loading takes."""
    folder = chosen[name].folder
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    on_gpu = chosen[name].engine == "tensorrt_llm"
    load = _load_on_gpu if on_gpu else _load_on_cpu
    return Transcriber(Scheduler(load(settings, name, folder, tokenizer)), tokenizer)


def _load_on_gpu(settings: Settings, name: str, folder: Path, tokenizer: Tokenizer) -> Engine:
    aligner = settings.aligner_weights_dir
    if aligner is not None:
        checkpoint = aligner.expanduser() / f"{name}.pt"
        aligner = checkpoint if checkpoint.is_file() else aligner.expanduser() / name
    return tensorrt_llm.load(
        name,
        folder,
        tokenizer,
        devices=settings.gpus,
        aligner_weights=aligner,
        window_timeout=settings.engine_window_timeout,
    )


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


async def serve(
    settings: Settings,
    callers: Callers,
    load: LoadModel,
    reload: Callable[[], Callers],
    chosen: Mapping[str, Choice] | None = None,
) -> int:
    """Start the parts around the models, and stop them again; the exit code.

    `chosen` is told by `/readyz`.

    Raises:
        ConfigError: the sandbox, the file of usage or the Redis that is asked for cannot be had.
    """
    log = structlog.get_logger()
    try:
        access = Access.open(settings, callers)
    except RecordsError as error:
        raise ConfigError(error.problems) from None
    heed_hangups(lambda: access.gate.reload(reload))
    loader = Loader(
        spool_dir=settings.spool_dir,
        max_audio_seconds=settings.max_audio_seconds,
        load_timeout=settings.load_timeout,
        max_loads=settings.max_loads,
        sandbox=settings.sandbox,
    )
    try:
        if missing := await loader.start():
            log.warning("sandbox_incomplete", missing=missing)
    except SandboxUnavailable as error:
        raise ConfigError([f"SUSSURRO_SANDBOX is `required`: {error}"]) from None
    await access.start()
    transcribers: dict[str, AnyTranscriber] = {}
    models = Models(settings.models, transcribers)
    admission = Admission(Bounds.of(settings))
    readiness = Readiness(models, loader, admission, chosen)
    app = create_app(
        settings,
        access=access,
        models=models,
        loader=loader,
        admission=admission,
        readiness=readiness,
    )
    try:
        loading = _load(settings.models, load, transcribers)
        return await _listen(settings, app, readiness, loading, transcribers)
    finally:
        for transcriber in transcribers.values():
            await asyncio.to_thread(transcriber.engine.close, CLOSE_SECONDS)
        await loader.close()
        await access.close()
        log.info("stopped")


async def _listen(
    settings: Settings,
    app: AsgiApp,
    readiness: Readiness,
    load: Coroutine[None, None, None],
    transcribers: Mapping[str, AnyTranscriber],
) -> int:
    """Listen at once and load the models meanwhile; stop when one is lost.

    Probes are answered from the start, and say 503 until the models are warm: an engine may take
    minutes to load, and a supervisor must not take that for a hang.
    """
    log = structlog.get_logger()
    loading = asyncio.create_task(load)
    try:
        socket = listen(settings.host, settings.port)
    except OSError:
        log.exception("cannot_listen", port=settings.port)
        loading.cancel()
        return EXIT_FAILED
    config = make_config(
        app, header_timeout=settings.header_timeout, drain_timeout=settings.drain_timeout
    )
    listener = Listener(config, on_stop=readiness.drain, grace=settings.drain_grace)
    serving = asyncio.create_task(listener.serve(sockets=[socket]))
    watching = asyncio.create_task(_failure(loading, transcribers))
    await asyncio.wait((serving, watching), return_when=asyncio.FIRST_COMPLETED)
    failed = watching.done()
    if failed:
        listener.stop()
    await serving
    loading.cancel()
    watching.cancel()
    return EXIT_FAILED if failed else 0


async def _failure(loading: asyncio.Task[None], transcribers: Mapping[str, AnyTranscriber]) -> None:
    """Return when a model cannot be loaded, or its engine has given up; the log says which."""
    log = structlog.get_logger()
    while True:
        if loading.done() and (error := loading.exception()):
            log.error("loading_failed", exc_info=error)
            return
        for name, transcriber in transcribers.items():
            if not transcriber.engine.stats().healthy:
                log.error("engine_failed", model=name)
                return
        await asyncio.sleep(WATCH_SECONDS)


async def _load(
    names: Sequence[str], load: LoadModel, transcribers: dict[str, AnyTranscriber]
) -> None:
    """Load and warm one model after the other; each can be used as soon as it is warm."""
    for name in names:
        started = time.monotonic()
        transcriber = await _in_daemon_thread(partial(load, name))
        await transcriber.transcribe(_noise(), TranscriptionOptions(language="en"))
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


def leave(code: int) -> NoReturn:
    """End the process, without waiting for threads that hang or still compute in native code.

    A regular end tears down what they use under them, which may crash, or wait for ever.
    """
    if any(thread.daemon for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    leave(main(os.environ))
