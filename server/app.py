"""The wiring: parts in, ASGI application out; and the route table.

Knows: every part of the edge, and which route it serves.
Must not know: how parts are made (`__main__` does), or what they do.
"""

import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

import falcon.asgi

from server.access.access import Access
from server.audio.spool_space import SpoolSpace
from server.cues import CueLimits
from server.http import problems
from server.http.bodies import Bodies
from server.http.body import BodyLimits
from server.http.client_address import ClientAddress
from server.http.cors import Cors
from server.http.docs_page import DocsPage
from server.http.exchange import RouteName
from server.http.jobs import JobList, JobTranscript, OneJob
from server.http.metrics import PATH as METRICS
from server.http.metrics import MetricsPage
from server.http.middleware import OPEN_PATHS, Edge
from server.http.models import ModelList, Models
from server.http.openapi import OpenApi, describe
from server.http.page import PREFIX, Page
from server.http.parts import Admission, AudioLoader
from server.http.probes import Alive, Readiness, Ready, Root
from server.http.spool import Spools
from server.http.transcriptions import Service, Transcriptions
from server.http.usage import UsageReport
from server.metrics.registry import Metrics
from server.settings import Settings
from server.types import TranscriptionOptions

if TYPE_CHECKING:
    from server.jobs.jobs import Jobs  # slow to import, and not every server has jobs


def create_app(  # noqa: PLR0913 - every part is an argument, all by name
    settings: Settings,
    *,
    access: Access,
    models: Models,
    loader: AudioLoader,
    admission: Admission,
    readiness: Readiness,
    space: SpoolSpace,
    metrics: Metrics,
    jobs: "Jobs | None" = None,
    new_id: Callable[[], str] = lambda: f"req_{uuid.uuid4().hex}",
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
) -> Edge:
    """The application; `models` may still be filling while it serves."""
    service = Service(
        models=models,
        admission=admission,
        allowances=access.allowances,
        usage=access.usage,
        loader=loader,
        spools=Spools(settings.spool_dir, space),
        max_field_bytes=settings.max_field_bytes,
        defaults=TranscriptionOptions(
            mode=settings.mode,
            languages=settings.languages,
            default_language=settings.default_language,
            beam_size=settings.beam_size,
        ),
        bodies=Bodies(
            CueLimits(
                settings.subtitle_max_line_chars,
                settings.subtitle_max_lines,
                settings.subtitle_max_seconds,
            ),
            keepalive_after=settings.keepalive_after,
            keepalive_interval=settings.keepalive_interval,
        ),
        request_timeout=settings.request_timeout,
        jobs=jobs,
    )
    listing = ModelList(models, created=int(now()))

    page = Page() if settings.page == "on" else None

    app = falcon.asgi.App(middleware=[RouteName()])
    app.add_route("/", Root(page))
    if page is not None:
        app.add_route(PREFIX + "{name}", page)
    app.add_route("/healthz", Alive())
    app.add_route("/readyz", Ready(readiness))
    app.add_route("/openapi.json", OpenApi())
    app.add_route("/docs", DocsPage(describe()))
    app.add_route("/v1/models", listing)
    app.add_route("/v1/models/{model:path}", listing, suffix="one")
    app.add_route(METRICS, MetricsPage(metrics.render))
    app.add_route("/v1/usage", UsageReport(access.usage))
    app.add_route("/v1/audio/transcriptions", Transcriptions("transcribe", service))
    app.add_route("/v1/audio/translations", Transcriptions("translate", service))
    app.add_route("/v1/jobs", JobList(jobs))
    app.add_route("/v1/jobs/{job_id}", OneJob(jobs))
    app.add_route("/v1/jobs/{job_id}/transcript", JobTranscript(jobs, service.bodies))
    problems.install(app)

    limits = BodyLimits(
        max_bytes=settings.max_upload_bytes,
        idle_timeout=settings.upload_idle_timeout,
        timeout=settings.upload_timeout,
        min_rate=settings.min_upload_rate,
        discard_bytes=settings.discard_bytes,
        discard_timeout=settings.discard_timeout,
    )
    return Edge(
        app,
        access.gate,
        limits,
        Cors(settings.cors_origins),
        ClientAddress(settings.trusted_proxies),
        open_paths=OPEN_PATHS | (page.paths if page else frozenset()),
        new_id=new_id,
        clock=clock,
        on_done=metrics.request_done,
    )
