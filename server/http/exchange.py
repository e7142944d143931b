"""What belongs to one request while it is served, and where it is kept.

Knows: the request's log record, its caller, its body and its answer.
Must not know: what any of them is used for.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import falcon.asgi

from server.http.body import RequestBody
from server.http.parts import Scope
from server.observe.logs import RequestRecord
from server.texts import Language
from server.types import Principal

if TYPE_CHECKING:
    from server.http.answer import Answer  # it renders errors, which belong to an exchange

_KEY = "sussurro.exchange"


@dataclass(slots=True)
class Exchange:
    """One request and its answer; `principal` is None on the open routes."""

    record: RequestRecord
    body: RequestBody
    answer: "Answer"
    principal: Principal | None = None
    query: bytes = b""
    """What follows the `?`, as it was sent."""
    deployment: str | None = None
    """The name in Azure's path, which may be a model's."""

    @property
    def language(self) -> Language:
        """What the caller reads."""
        return self.answer.language

    def put(self, scope: Scope, path: str) -> Scope:
        """A copy of the scope that carries this exchange and is routed by `path`.

        The query stays here: Falcon would fail on one that is not UTF-8.
        """
        self.query = scope.get("query_string", b"")
        return {**scope, "path": path, "query_string": b"", _KEY: self}


def exchange_of(req: falcon.asgi.Request) -> Exchange:
    """The exchange that a Falcon request belongs to."""
    exchange = req.scope[_KEY]
    assert isinstance(exchange, Exchange)
    return exchange


def caller_of(req: falcon.asgi.Request) -> Principal:
    """Who is calling; only for routes that need a key."""
    principal = exchange_of(req).principal
    assert principal is not None, "This is a bug: a route without a key asked for its caller."
    return principal


class RouteName:
    """Falcon middleware: the route's template goes into the log, the path as sent never does."""

    async def process_resource(
        self,
        req: falcon.asgi.Request,
        _resp: falcon.asgi.Response,
        _resource: object,
        _params: object,
    ) -> None:
        """Runs once a route is found, before its method is."""
        exchange_of(req).record.route = req.uri_template
