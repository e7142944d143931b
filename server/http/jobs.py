"""GET /v1/jobs, GET and DELETE /v1/jobs/{id}, GET /v1/jobs/{id}/transcript.

Knows: what a job looks like to its owner, and which formats its transcript may be had in.
Must not know: where jobs are kept, or who runs them.
"""

import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import falcon.asgi

from server import texts
from server.errors import InvalidOption, JobNotFinished, JobNotFound, JobsOff, NoTranscript
from server.http import options
from server.http.bodies import Bodies
from server.http.exchange import Exchange, caller_of, exchange_of
from server.http.options import check_words
from server.jobs.record import Job
from server.jobs.shown import body_of
from server.types import TranscriptionOptions

if TYPE_CHECKING:
    from server.jobs.jobs import Jobs  # slow to import, and not every server has jobs

SHOWN = (
    "response_format",
    "timestamp_granularities",
    "include",
    "x_dropped",
    "x_formats",
)
"""Fields that shape an answer and change nothing of the transcription."""

MAX_PAGE = 100
PAGE = 20
MAX_WAIT = 60

_ID = re.compile(r"job_[0-9a-f]{32}")
_RESPOND_ASYNC = re.compile(r"(^|,)\s*respond-async\s*($|[,;])", re.IGNORECASE)


def prefers_async(req: falcon.asgi.Request) -> bool:
    """Whether the caller sent `Prefer: respond-async` (RFC 7240)."""
    return bool(_RESPOND_ASYNC.search(req.get_header("prefer") or ""))


def kept_by(jobs: "Jobs | None") -> "Jobs":
    """The server's jobs.

    Raises:
        JobsOff: it has none.
    """
    if jobs is None:
        raise JobsOff(texts.JOBS_OFF, param="background")
    return jobs


class JobList:
    """The caller's jobs, newest first, page by page."""

    def __init__(self, jobs: "Jobs | None") -> None:
        self._jobs = jobs

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """`limit` of them, after the one that `after` names."""
        jobs, exchange = kept_by(self._jobs), exchange_of(req)
        query = _query(exchange)
        after = query.get("after", [None])[-1]
        if after is not None:
            _check_id(after, "after")
        listed, more = await jobs.page(caller_of(req).name, after, _limit(query))
        outlook = await jobs.outlook(listed)
        data = [body_of(job, outlook, exchange.language) for job in listed]
        resp.media = {"object": "list", "data": data, "has_more": more}

    on_head = on_get


class OneJob:
    """One of the caller's jobs."""

    def __init__(self, jobs: "Jobs | None") -> None:
        self._jobs = jobs

    async def on_get(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, job_id: str
    ) -> None:
        """How it stands."""
        jobs = kept_by(self._jobs)
        job = await _find(jobs, req, job_id)
        outlook = await jobs.outlook([job])
        resp.media = body_of(job, outlook, exchange_of(req).language)

    on_head = on_get

    async def on_delete(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, job_id: str
    ) -> None:
        """End it, or delete its transcript; how it stands then."""
        jobs = kept_by(self._jobs)
        await jobs.cancel(await _find(jobs, req, job_id))
        job = await _find(jobs, req, job_id)
        resp.media = body_of(job, {}, exchange_of(req).language)


class JobTranscript:
    """The transcript of a job that succeeded, in any format."""

    def __init__(self, jobs: "Jobs | None", bodies: Bodies) -> None:
        self._jobs = jobs
        self._bodies = bodies

    async def on_get(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, job_id: str
    ) -> None:
        """As the job's own fields asked, unless the query says otherwise."""
        jobs = kept_by(self._jobs)
        job = await _find(jobs, req, job_id)
        if job.state in ("queued", "running"):
            _, finish = (await jobs.outlook([job])).get(job.id, (0, time.time()))
            wait = min(max(math.ceil(finish - time.time()), 1), MAX_WAIT)
            state = texts.JOB_STATES[job.state]
            text = texts.JOB_NOT_FINISHED.filled(state=state, wait=wait)
            raise JobNotFinished(text, retry_after=wait)
        transcript, asked = await jobs.transcript(job)
        if transcript is None:
            state = texts.JOB_STATES.get(job.state, texts.JOB_STATES["expired"])
            raise NoTranscript(texts.NO_TRANSCRIPT.filled(state=state))
        query = _query(exchange_of(req))
        shown = {name: values for name, values in query.items() if name in SHOWN}
        wanted = options.parse(shown or asked.shown, job.task, TranscriptionOptions())
        check_words(wanted, aligns=asked.aligns)
        resp.data, resp.content_type = await self._bodies.render(transcript, wanted)
        exchange_of(req).record.response_format = wanted.response_format

    on_head = on_get


async def _find(jobs: "Jobs", req: falcon.asgi.Request, job_id: str) -> Job:
    _check_id(job_id)
    return await jobs.find(caller_of(req).name, job_id)


def _check_id(job_id: str, param: str | None = None) -> None:
    if not _ID.fullmatch(job_id):
        raise JobNotFound(texts.NO_SUCH_JOB, param=param)


def _query(exchange: Exchange) -> dict[str, list[str]]:
    """The query's fields; `x[]` is `x`, as in forms."""
    text = exchange.query.decode("utf-8", "replace")
    found: dict[str, list[str]] = {}
    for name, values in parse_qs(text, keep_blank_values=True, max_num_fields=64).items():
        found.setdefault(name.removesuffix("[]"), []).extend(values)
    return found


def _limit(query: Mapping[str, Sequence[str]]) -> int:
    text = query.get("limit", [str(PAGE)])[-1]
    limit = int(text) if re.fullmatch(r"[0-9]{1,4}", text) else 0
    if not 1 <= limit <= MAX_PAGE:
        allowed = texts.NUMBER_BETWEEN.filled(least=1, most=MAX_PAGE)
        raise InvalidOption(texts.WRONG_VALUE.filled(name="limit", allowed=allowed), param="limit")
    return limit
