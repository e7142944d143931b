"""A job as its owner sees it, over HTTP and in webhooks.

Knows: the object's form.
Must not know: HTTP, databases.
"""

from collections.abc import Mapping
from typing import Any

from server.jobs.record import Job
from server.texts import Language


def body_of(
    job: Job, outlook: Mapping[str, tuple[int, float]], language: Language
) -> dict[str, Any]:
    """A job as its owner sees it; names are those of OpenAI's fine-tuning jobs."""
    ahead, finish = outlook.get(job.id, (None, None))
    fault = job.error
    return {
        "id": job.id,
        "object": "transcription.job",
        "status": job.state,
        "task": job.task,
        "model": job.model,
        "audio_seconds": round(job.audio_s, 3),
        "done_seconds": round(min(job.done_s, job.audio_s), 3),
        "created_at": int(job.created),
        "started_at": _whole(job.started),
        "finished_at": _whole(job.finished),
        "expires_at": int(job.expires) if job.state == "succeeded" else None,
        "jobs_ahead": ahead,
        "estimated_finish": _whole(finish),
        "error": fault
        and {"code": fault.code, "message": fault.pt if language == "pt" else fault.en},
    }


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
