"""Errors as OpenAI's body: the only place that renders one.

Knows: the error tree, Falcon's own errors, the JSON body with its four keys.
Must not know: what caused an error. A fault that nobody foresaw becomes a general message.
"""

import json
from typing import Any, NamedTuple

import falcon
import falcon.asgi
import structlog

from server import texts
from server.errors import (
    EngineError,
    IdempotencyKeyReused,
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    RateLimited,
    ServerError,
    Unauthenticated,
)
from server.http.exchange import exchange_of
from server.http.language import TAGS
from server.texts import Language

MAX_WAIT = 60
"""Seconds of `Retry-After` that OpenAI's SDKs heed."""


class Problem(NamedTuple):
    """A rendered error."""

    status: int
    headers: dict[str, str]
    body: bytes


def render(error: ServerError, language: Language = "en") -> Problem:
    """Status, headers and OpenAI's body of an error, in the caller's language."""
    fields = {
        "message": error.said(language),
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    headers = {
        "content-type": "application/json",
        "content-language": TAGS[language],
        "vary": "Accept-Language",
    }
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="sussurro"'
    if error.retry_after is not None:
        headers["retry-after"] = str(max(error.retry_after, 1))
        # OpenAI's SDKs follow it before their own rules; they would not wait longer, but go on
        headers["x-should-retry"] = "true" if error.retry_after <= MAX_WAIT else "false"
    elif isinstance(error, RateLimited | IdempotencyKeyReused):
        headers["x-should-retry"] = "false"
    return Problem(
        error.status, headers, json.dumps({"error": fields}, ensure_ascii=False).encode()
    )


def to_server_error(error: Exception) -> ServerError:
    """Any exception as one of ours; what nobody foresaw is logged, and kept from the client."""
    if isinstance(error, EngineError | InternalError):
        structlog.get_logger().error("fault", code=error.code, exc_info=error)
    if isinstance(error, ServerError):
        return error
    if isinstance(error, falcon.HTTPNotFound):
        return NotFound(texts.UNKNOWN_URL)
    if isinstance(error, falcon.HTTPMethodNotAllowed | falcon.HTTPBadRequest):
        # Falcon answers an unknown method with its bare HTTPBadRequest
        return MethodNotAllowed(texts.WRONG_METHOD)
    if isinstance(error, falcon.HTTPError) and error.status_code < 500:
        return MalformedRequest(texts.UNREADABLE)
    structlog.get_logger().error("fault", exc_info=error)
    return InternalError(texts.SERVER_FAILED)


def install(app: falcon.asgi.App[Any, Any]) -> None:
    """Make the Falcon app answer every error with OpenAI's body."""
    for kind in (Exception, falcon.HTTPError):  # Falcon has a handler of its own for the latter
        app.add_error_handler(kind, _handle)


async def _handle(
    req: falcon.asgi.Request, resp: falcon.asgi.Response, error: Exception, _params: dict[str, Any]
) -> None:
    ours = to_server_error(error)
    problem = render(ours, exchange_of(req).language)
    exchange_of(req).record.refused(ours.code, ours.reason)
    resp.status = problem.status
    resp.data = problem.body
    resp.text = resp.media = resp.stream = None
    resp.set_headers(problem.headers)
    if isinstance(error, falcon.HTTPMethodNotAllowed) and error.headers:
        resp.set_headers(error.headers)
    elif problem.status == MethodNotAllowed.status:
        resp.set_header("allow", "GET, HEAD, OPTIONS, POST")
