"""Every error that a client can meet, as one tree.

Knows: status, OpenAI's `type` and `code`, and when to come back.
Must not know: how an error is rendered (`http/problems.py` alone does that).

    ServerError
    ├── MalformedRequest       400  not HTTP as RFC 9112 has it
    ├── InvalidOption          400  a field is missing, malformed or not supported
    ├── JobsOff                400  this server keeps no jobs
    ├── IdempotencyOff         400  this server keeps no answers for repeats
    ├── BadAudio               400  not audio, empty, or nothing that can be decoded
    ├── AudioTooLong           400  more seconds than the limit
    ├── Unauthenticated        401  no key, or one we do not know
    ├── Forbidden              403  the key lacks the scope
    ├── NotFound               404  no such route
    │   ├── ModelNotFound      404  no such model
    │   ├── JobNotFound        404  no such job of yours
    │   └── NoTranscript       404  the job has none, and will have none
    ├── MethodNotAllowed       405
    ├── UploadTimeout          408  the body stopped coming
    ├── JobNotFinished         409  the job has no transcript yet
    ├── IdempotencyKeyInUse    409  the same request is worked on now
    ├── IdempotencyKeyReused   409  the key was used for another request
    ├── UploadTooLarge         413  more bytes than the limit
    ├── UnsupportedMediaType   415  the body is not multipart/form-data
    ├── RateLimited            429  your share is used up
    │   ├── InsufficientQuota  429  your minutes of audio are used up
    │   └── TooManyFailures    429  too many bad keys from your address
    ├── InternalError          500  anything that we did not foresee
    │   └── EngineError        500  the engine failed
    ├── Overloaded             503  the server's queue is full
    ├── JobsUnavailable        503  the database of jobs, or their store, does not answer
    ├── NotReady               503  the models are still loading, or a part has failed
    ├── EngineUnavailable      503  the engine is stuck or gone; the server starts again
    ├── Draining               503  the server is about to stop
    └── DeadlineExceeded       504  the transcription took longer than its limit

A message is written for the person who reads it in n8n or in a terminal: what is wrong, and what
to do. It never holds a path, a key, a prompt or a transcript. All of them are in `texts`, in every
language that we speak; faults of ours may have a plain string, which is for the log alone.
"""

from typing import ClassVar

from server import texts
from server.texts import Language, Text


class ServerError(Exception):
    """The root: `message` reaches the client, `param` names the field at fault.

    `reason` is a short code for logs and metrics, finer than `code`; no client sees it.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = None

    def __init__(
        self,
        message: Text,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        reason: str | None = None,
    ) -> None:
        """Keep what the client is told; `retry_after` is in whole seconds, at least 1."""
        super().__init__(str(message))
        self.text = message
        self.param = param
        self.retry_after = retry_after
        self.reason = reason

    @property
    def message(self) -> str:
        """What the client is told, in English."""
        return self.said("en")

    def said(self, language: Language) -> str:
        """What the client is told, in its language."""
        return self.text.said(language)


class MalformedRequest(ServerError):
    """What arrived is not HTTP, or leaves open where the request ends."""

    status = 400
    type = "invalid_request_error"
    code = "malformed_request"


class InvalidOption(ServerError):
    """A request field is missing, malformed or not supported."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class JobsOff(ServerError):
    """Jobs are not kept by this server."""

    status = 400
    type = "invalid_request_error"
    code = "jobs_off"


class IdempotencyOff(ServerError):
    """Answers are not kept by this server."""

    status = 400
    type = "invalid_request_error"
    code = "idempotency_off"


class BadAudio(ServerError):
    """The file holds no audio that can be decoded."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_audio"


class AudioTooLong(ServerError):
    """The recording has more seconds than the limit."""

    status = 400
    type = "invalid_request_error"
    code = "audio_too_long"


class Unauthenticated(ServerError):
    """No key, a malformed one, an unknown one or an expired one; never says which."""

    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"


class Forbidden(ServerError):
    """The key is good but lacks the scope."""

    status = 403
    type = "invalid_request_error"
    code = "insufficient_scope"


class NotFound(ServerError):
    """No such route."""

    status = 404
    type = "invalid_request_error"
    code = "unknown_url"


class ModelNotFound(NotFound):
    """No such model is loaded."""

    code = "model_not_found"


class JobNotFound(NotFound):
    """No such job, or it is another caller's."""

    code = "job_not_found"


class NoTranscript(NotFound):
    """The job has failed, was cancelled, or its transcript was deleted."""

    code = "transcript_unavailable"


class MethodNotAllowed(ServerError):
    """The route exists, but not for this method."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class UploadTimeout(ServerError):
    """The body stopped coming, or took longer than the limit."""

    status = 408
    type = "invalid_request_error"
    code = "upload_timeout"


class JobNotFinished(ServerError):
    """The job has no transcript yet."""

    status = 409
    type = "invalid_request_error"
    code = "job_not_finished"


class IdempotencyKeyInUse(ServerError):
    """The same request is worked on now."""

    status = 409
    type = "invalid_request_error"
    code = "idempotency_key_in_use"


class IdempotencyKeyReused(ServerError):
    """The key was used for a request that asked for something else."""

    status = 409
    type = "invalid_request_error"
    code = "idempotency_key_reused"


class UploadTooLarge(ServerError):
    """The body has more bytes than the limit."""

    status = 413
    type = "invalid_request_error"
    code = "upload_too_large"


class UnsupportedMediaType(ServerError):
    """The body is not multipart/form-data."""

    status = 415
    type = "invalid_request_error"
    code = "unsupported_media_type"


class RateLimited(ServerError):
    """The caller's own share is used up."""

    status = 429
    type = "requests"
    code = "rate_limit_exceeded"


class InsufficientQuota(RateLimited):
    """The caller's minutes of audio do not suffice, this hour or this day."""

    type = "insufficient_quota"
    code = "insufficient_quota"


class TooManyFailures(RateLimited):
    """A bad key, from an address that many of them come from."""

    code = "too_many_failures"


class InternalError(ServerError):
    """A fault of ours that nobody foresaw.

    A plain string says for the log what it was; the client is told less.
    """

    status = 500
    code = "internal_error"
    general: ClassVar[Text] = texts.SERVER_FAILED

    def __init__(
        self,
        message: Text | str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        reason: str | None = None,
    ) -> None:
        """A string stays here; the client is told the general text."""
        told = self.general if isinstance(message, str) else message
        super().__init__(told, param=param, retry_after=retry_after, reason=reason)
        self.args = (str(message),)


class EngineError(InternalError):
    """The engine failed."""

    code = "engine_error"
    general = texts.ENGINE_FAILED


class Overloaded(ServerError):
    """The server's queue is full."""

    status = 503
    code = "overloaded"


class JobsUnavailable(ServerError):
    """The database of jobs, or the store of their audio, does not answer."""

    status = 503
    code = "jobs_unavailable"


class NotReady(ServerError):
    """The models are still loading, or a part of the server has failed."""

    status = 503
    code = "not_ready"


class EngineUnavailable(ServerError):
    """The engine is stuck or gone; the process ends, and its supervisor starts another one."""

    status = 503
    code = "engine_unavailable"


class Draining(ServerError):
    """The server is about to stop and takes no new work."""

    status = 503
    code = "draining"


class DeadlineExceeded(ServerError):
    """The work took longer than its limit."""

    status = 504
    code = "deadline_exceeded"
