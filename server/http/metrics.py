"""GET /metrics: the server's figures, for Prometheus.

Knows: who may read them, and from which port.
Must not know: what there is to read, or which library writes it.
"""

from collections.abc import Awaitable, Callable

import falcon.asgi

from server.access.scopes import require
from server.http.exchange import exchange_of
from server.http.parts import AsgiApp, Receive, Scope, Send

PATH = "/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

OWN_PORT = "sussurro.metrics_port"
"""In the scope of a request that came to the port for metrics, where nobody needs a key."""


class MetricsPage:
    """The text that `render` makes."""

    def __init__(self, render: Callable[[], Awaitable[bytes]]) -> None:
        self._render = render

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """All figures. The edge lets nobody come without a key but through the own port."""
        caller = exchange_of(req).principal
        if caller is not None:
            require(caller, "metrics")
        resp.data, resp.content_type = await self._render(), CONTENT_TYPE

    on_head = on_get


def with_own_port(app: AsgiApp, port: int) -> AsgiApp:
    """The app; what arrives at this port is marked."""

    async def marked(scope: Scope, receive: Receive, send: Send) -> None:
        local = scope.get("server")
        if local and local[1] == port:
            scope = {**scope, OWN_PORT: True}
        await app(scope, receive, send)

    return marked
