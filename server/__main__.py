"""`python -m server`: settings → logs → sandbox → socket → models → requests → a clean end.

Knows: the order of starting and stopping, exit codes.
Must not know: how anything in between works.
"""

import signal

# Whoever has just written new keys may send it while the rest is imported, which takes a second;
# unheeded it would end the process. `heed_hangups` lets what waits through.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, NoReturn, cast

import structlog

from server.access.access import Access
from server.access.callers import Callers
from server.access.records import RecordsError
from server.admission import Admission, Bounds
from server.app import create_app
from server.audio.loader import Loader, SandboxUnavailable
from server.audio.spool_space import SpoolSpace
from server.decoding.languages import LANGUAGES
from server.engines.choice import NO_MATCH, Choice, choose, here
from server.errors import EngineError, JobsUnavailable
from server.http.connections import Connections
from server.http.listener import Listener, connection_limits, heed_hangups, listen
from server.http.metrics import with_own_port
from server.http.models import Models
from server.http.parts import AsgiApp
from server.http.parts import Transcriber as AnyTranscriber
from server.http.probes import Readiness
from server.http.protocol import Config, make_config
from server.loading import LoadModel, load_all, load_model
from server.metrics.gpus import load_nvml
from server.metrics.registry import Metrics
from server.metrics.state import Parts
from server.observe import logs
from server.secrecy import keep_secrets
from server.settings import EXIT_CONFIG, PREFIX, SECRET_NAMES, Settings, SettingsError

if TYPE_CHECKING:
    from server.jobs.jobs import Jobs

EXIT_FAILED = 1
"""Something broke that may be well next time: a supervisor should start us again."""

CLOSE_SECONDS = 1.0
"""For an engine to end what it computes; by then nobody waits for it."""

WATCH_SECONDS = 0.5
"""Between two looks at the engines."""


class ConfigError(Exception):
    """The server cannot start as it is set up; each problem is a line for a person."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the problems for whoever prints them."""
        super().__init__("\n".join(problems))
        self.problems = problems


class NotNow(ConfigError):
    """It may start as it is set up, once what it needs answers: a supervisor should try again."""


def main(environ: Mapping[str, str]) -> int:
    """Run until stopped; the exit code: 0 stopped, 78 set up wrongly, 1 failed or not now."""

    def run() -> int:
        settings, callers = configure(environ)
        keep_secrets(SECRET_NAMES)
        logs.configure(settings.log_level)
        chosen = choose_engines(settings)
        load = partial(load_model, settings, chosen)
        reload = partial(Callers.read, environ)
        return asyncio.run(serve(settings, callers, load, reload, chosen))

    return exit_code(run)


def exit_code(run: Callable[[], int]) -> int:
    """What `run` returns, or why it cannot be run as it is set up, told to whoever starts it."""
    try:
        return run()
    except ConfigError as error:
        for problem in error.problems:
            print(f"sussurro: {problem}", file=sys.stderr)  # noqa: T201 - for a person at a shell
        return EXIT_FAILED if isinstance(error, NotNow) else EXIT_CONFIG


def configure(environ: Mapping[str, str]) -> tuple[Settings, Callers]:
    """Settings, and who may call.

    Raises:
        ConfigError: with all that is wrong with either.
    """
    try:
        settings = Settings.from_env(environ)
    except SettingsError as error:
        raise ConfigError(error.problems) from None
    problems = _unknown_languages(settings)
    if settings.database_url.get_secret_value() and settings.jobs_dir is None:
        problems.append(f"{PREFIX}DATABASE_URL: needs {PREFIX}JOBS_DIR, too, for the jobs' audio")
    if problems:
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
                on_cluster_gpus=settings.ray_gpus > 0,
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


def start_traces(settings: Settings) -> Callable[[], None]:
    """Send spans to the collector, if one is named; the call that ends it.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """
    if not settings.otlp_endpoint:
        return lambda: None
    try:
        from server.observe import otlp  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        problem = f"{PREFIX}OTLP_ENDPOINT: needs requirements/traces.txt ({error.name} is missing)"
        raise ConfigError([problem]) from None
    return otlp.start(settings.otlp_endpoint)


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
        ConfigError: the sandbox, the file of usage, the Redis or the place for jobs that is asked
            for cannot be had.
        NotNow: the database of jobs does not answer.
    """
    log = structlog.get_logger()
    end_traces = start_traces(settings)
    try:
        access = Access.open(settings, callers)
    except RecordsError as error:
        raise ConfigError(error.problems) from None
    heed_hangups(lambda: access.gate.reload(reload))
    transcribers: dict[str, AnyTranscriber] = {}
    jobs = _open_jobs(settings, access, transcribers)  # what may fail, before processes are started
    space = SpoolSpace(settings.max_spool_bytes)
    loader = Loader(
        spool_dir=settings.spool_dir,
        max_audio_seconds=settings.max_audio_seconds,
        load_timeout=settings.load_timeout,
        max_loads=settings.max_loads,
        sandbox=settings.sandbox,
        space=space,
    )
    try:
        if missing := await loader.start():
            log.warning("sandbox_incomplete", missing=missing)
    except SandboxUnavailable as error:
        raise ConfigError([f"SUSSURRO_SANDBOX is `required`: {error}"]) from None
    await access.start()
    models = Models(settings.models, transcribers)
    admission = Admission(Bounds.of(settings))
    readiness = Readiness(models, loader, admission, chosen)
    on_gpu = any(choice.engine == "tensorrt_llm" for choice in (chosen or {}).values())
    limits = connection_limits(settings)
    connections = Connections(limits.max_connections)
    shown = (settings.models, transcribers, admission, loader, access.windows, chosen or {})
    metrics = Metrics(
        Parts(*shown, jobs, connections), load_nvml() if on_gpu else None, settings.gpus
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
    )
    try:
        if jobs is not None:
            await _take_up(jobs)
            readiness.on_drain(jobs.drain)
        loading = load_all(settings.models, load, transcribers)
        config = make_config(
            app, limits=limits, drain_timeout=settings.drain_timeout, connections=connections
        )
        return await _listen(settings, config, readiness, loading, transcribers)
    finally:
        if jobs is not None:
            await jobs.close()
        for transcriber in transcribers.values():
            await asyncio.to_thread(transcriber.engine.close, CLOSE_SECONDS)
        await loader.close()
        await access.close()
        await asyncio.to_thread(end_traces)
        log.info("stopped")


def _open_jobs(
    settings: Settings, access: Access, transcribers: Mapping[str, AnyTranscriber]
) -> "Jobs | None":
    """Where jobs are kept, if they are; blocks."""
    if settings.jobs_dir is None:
        return None
    # SQLAlchemy takes 12 MB and a tenth of a second or more: for those who have jobs alone
    from server.jobs.database import DatabaseAway, DatabaseError  # noqa: PLC0415
    from server.jobs.jobs import Jobs  # noqa: PLC0415

    try:
        return Jobs(settings, access, transcribers)
    except DatabaseAway as error:
        raise NotNow([str(error)]) from None
    except DatabaseError as error:
        raise ConfigError([str(error)]) from None


async def _take_up(jobs: "Jobs") -> None:
    try:
        await jobs.start()
    except JobsUnavailable as error:
        raise NotNow([f"{PREFIX}DATABASE_URL: does not answer any more"]) from error


async def _listen(
    settings: Settings,
    config: Config,
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
    sockets = []
    for port in (settings.port, settings.metrics_port):
        if port is None:
            continue
        try:
            sockets.append(listen(settings.host, port))
        except OSError:
            log.exception("cannot_listen", port=port)
            loading.cancel()
            return EXIT_FAILED
    if settings.metrics_port is not None:
        config.app = with_own_port(cast("AsgiApp", config.app), sockets[-1].getsockname()[1])
    listener = Listener(
        config, on_stop=readiness.drain, on_close=readiness.close, grace=settings.drain_grace
    )
    serving = asyncio.create_task(listener.serve(sockets=sockets))
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
