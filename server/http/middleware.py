"""The outermost ASGI layer: who calls, from which path, and whether they are still there.

Knows: request ids, where keys are sent, path aliases, common headers, cancellation, the log line.
Must not know: what a route does.
"""

import asyncio
import math
import re
from collections.abc import Callable, Collection, Coroutine

import falcon
import structlog
from structlog.contextvars import bound_contextvars

from server import texts
from server.access.allowances import rate_limited
from server.access.counters import Count
from server.access.gate import Gate
from server.errors import Draining, InternalError, NotFound, ServerError, TooManyFailures
from server.http import metrics
from server.http.answer import Answer
from server.http.body import BodyLimits, RequestBody
from server.http.client_address import ClientAddress
from server.http.cors import Cors
from server.http.exchange import Exchange
from server.http.parts import AsgiApp, Receive, Scope, Send
from server.observe.logs import RequestRecord
from server.observe.traces import span

OPEN_PATHS = frozenset({b"/", b"/healthz", b"/readyz", b"/openapi.json", b"/docs"})
"""Raw paths that need no key; everything else does, whether it exists or not."""

CLIENT_CLOSED = 499
"""Logged, never sent: the client left before the answer."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_UNVERSIONED = re.compile(r"/(audio|models|jobs)(/|$)")
_AZURE = re.compile(r"/openai(/deployments/(?P<name>[^/]+))?(?=/)")


def canonical(path: str) -> str:
    """The path as the route table has it: single slashes, no trailing one, with `/v1`.

    Clients join a base URL and a path in many ways; a redirect would lose the upload. Azure's
    prefix is dropped, deployment name included.
    """
    path = re.sub("/{2,}", "/", path)
    path = _AZURE.sub("", path.rstrip("/"), count=1)
    return "/v1" + path if _UNVERSIONED.match(path) else path or "/"


def deployment(path: str) -> str | None:
    """The name in Azure's path, which says there what the form's `model` says elsewhere."""
    match = _AZURE.match(re.sub("/{2,}", "/", path))
    return match["name"] if match else None


class Edge:
    """Wraps the Falcon app; every request passes through here, and leaves one line in the log."""

    def __init__(  # noqa: PLR0913 - the parts of the edge
        self,
        app: AsgiApp,
        gate: Gate,
        limits: BodyLimits,
        cors: Cors,
        addresses: ClientAddress,
        *,
        open_paths: Collection[bytes] = OPEN_PATHS,
        new_id: Callable[[], str],
        clock: Callable[[], float],
        on_done: Callable[[RequestRecord], None],
    ) -> None:
        """`on_done` is told each request's record once its line is written."""
        self._app = app
        self._cors = cors
        self._addresses = addresses
        self._gate = gate
        self._limits = limits
        self._open_paths = open_paths
        self._new_id = new_id
        self._clock = clock
        self._on_done = on_done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or hand on what is no request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock()
        # ASGI allows iterators for the list and for its pairs; they are read more than once here
        scope = {**scope, "headers": [(name, value) for name, value in scope["headers"]]}
        headers = dict(scope["headers"])
        method = scope["method"] if scope["method"] in falcon.HTTP_METHODS else "other"
        record = RequestRecord(self._request_id(headers), method)
        body = RequestBody(scope, receive, self._limits)
        answer = Answer(scope, send, record, body, lambda: self._clock() - started)
        answer.headers += self._cors.of_answer(headers)
        exchange = Exchange(record, body, answer)
        try:
            with (
                bound_contextvars(request_id=record.request_id),  # in every line meanwhile
                span("request", headers, request_id=record.request_id, method=method),
            ):
                await self._race(self._serve(scope, headers, exchange), exchange)
        finally:
            record.upload_bytes = exchange.body.received
            record.write(self._clock() - started)
            self._on_done(record)

    def _request_id(self, headers: dict[bytes, bytes]) -> str:
        """The caller's own id where it is well-formed, else a fresh one."""
        own = headers.get(b"x-request-id", b"").decode("latin-1")
        return own if _REQUEST_ID.fullmatch(own) else self._new_id()

    async def _serve(self, scope: Scope, headers: dict[bytes, bytes], exchange: Exchange) -> None:
        """Check the key before a byte of the body is read, then route."""
        answer = exchange.answer
        try:
            if preflight := self._cors.of_preflight(scope["method"], headers):
                await answer.send(
                    {"type": "http.response.start", "status": 204, "headers": preflight}
                )
                await answer.send({"type": "http.response.body"})
                return
            if _needs_key(scope, self._open_paths):
                await self._let_in(scope, headers, exchange)
            path, exchange.deployment = canonical(scope["path"]), deployment(scope["path"])
            await self._app(exchange.put(scope, path), exchange.body.receive, answer.send)
        except ServerError as error:
            if isinstance(error, TooManyFailures):
                exchange.body.abandon()
            await answer.refuse(error)
        except Exception as error:  # noqa: BLE001 - the last line of defence: nothing may leak
            structlog.get_logger().error("fault", exc_info=error)
            await answer.refuse(InternalError(texts.SERVER_FAILED))

    async def _let_in(self, scope: Scope, headers: dict[bytes, bytes], exchange: Exchange) -> None:
        """Who calls, and whether that is one request too many; the answer says what is left."""
        address = self._addresses.of(_peer(scope), scope["headers"])
        try:
            caller = await self._gate.identify(_credential(headers), address)
        except ServerError:
            exchange.record.came_from(address)
            raise
        exchange.principal, exchange.record.key_id = caller, caller.key_id
        count = await self._gate.admit(caller)
        if count is not None:
            exchange.answer.headers += _rate_headers(count)
            if not count.allowed:
                raise rate_limited(count)

    async def _race(self, work: Coroutine[None, None, None], exchange: Exchange) -> None:
        """Run until done, until the client leaves, or until the server has to stop."""
        handler = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(exchange.body.gone())
        stopped = False
        try:
            await asyncio.wait((handler, gone), return_when=asyncio.FIRST_COMPLETED)
            if exchange.answer.ended:  # the server reports our own end as a disconnect, too
                await handler
        except asyncio.CancelledError:
            stopped = True
        exchange.record.client_disconnected = not handler.done() and not stopped
        handler.cancel()
        gone.cancel()
        await asyncio.gather(handler, gone, return_exceptions=True)
        if exchange.record.client_disconnected:
            exchange.record.status = CLIENT_CLOSED
            exchange.record.error = "client_disconnected"
        elif stopped:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            exchange.body.abandon()
            await exchange.answer.refuse(Draining(texts.DRAINING, retry_after=5))


def _raw_path(scope: Scope) -> bytes:
    """The path as sent; servers may leave `raw_path` out, then the decoded one must do."""
    raw = scope.get("raw_path") or scope["path"].encode()
    return bytes(raw).partition(b"?")[0]


def _needs_key(scope: Scope, open_paths: Collection[bytes]) -> bool:
    """Whether anybody may come here.

    Raises:
        NotFound: the port for metrics has nothing else.
    """
    path = _raw_path(scope)
    if metrics.OWN_PORT not in scope:
        return path not in open_paths
    if path != metrics.PATH.encode():
        raise NotFound(texts.UNKNOWN_URL)
    return False


def _peer(scope: Scope) -> str:
    """Who is connected; a Unix socket has no address."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _credential(headers: dict[bytes, bytes]) -> str | None:
    """The key or token that was sent, in OpenAI's header or in Azure's."""
    scheme, _, token = headers.get(b"authorization", b"").strip().partition(b" ")
    if scheme.lower() != b"bearer":
        token = headers.get(b"api-key", b"")
    return token.strip().decode("latin-1") or None


def _rate_headers(count: Count) -> list[tuple[bytes, bytes]]:
    """OpenAI's names; the time until a next request is free is written as OpenAI's are."""
    minutes, seconds = divmod(math.ceil(count.reset), 60)
    reset = f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
    return [
        (b"x-ratelimit-limit-requests", b"%d" % count.limit),
        (b"x-ratelimit-remaining-requests", b"%d" % count.remaining),
        (b"x-ratelimit-reset-requests", reset.encode()),
    ]
