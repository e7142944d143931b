"""Whether the server lives, and whether it can work.

Knows: what has to be well before work is taken.
Must not know: how to make it well. No probe needs a key, none says more than it must.
"""

import asyncio
from collections.abc import Callable, Mapping

import falcon.asgi

from server import texts
from server.engines.choice import Choice
from server.errors import Draining, NotReady
from server.http.models import Models
from server.http.page import Page, wants_page
from server.http.parts import Admission, AudioLoader

REVIVE_SECONDS = 5.0
"""For the media loader to start again while a probe waits."""

LINKS = {
    "transcriptions": "/v1/audio/transcriptions",
    "translations": "/v1/audio/translations",
    "models": "/v1/models",
    "usage": "/v1/usage",
    "jobs": "/v1/jobs",
    "docs": "/docs",
    "openapi": "/openapi.json",
    "alive": "/healthz",
    "ready": "/readyz",
}


class Readiness:
    """Whether work may be sent here."""

    def __init__(
        self,
        models: Models,
        loader: AudioLoader,
        admission: Admission,
        chosen: Mapping[str, Choice] | None = None,
    ) -> None:
        self.engines = {
            model: {"engine": choice.engine, "build": choice.build, "why": choice.why}
            for model, choice in (chosen or {}).items()
        }
        """Which engine serves each model, and why; nothing that is secret."""
        self._models = models
        self._loader = loader
        self._admission = admission
        self._draining = False
        self._on_drain: list[Callable[[], None]] = []

    def on_drain(self, call: Callable[[], None]) -> None:
        """Tell another part when it is time to stop."""
        self._on_drain.append(call)

    def drain(self) -> None:
        """From now on: no. Work that comes all the same is done, until the door is closed."""
        self._draining = True

    def close(self) -> None:
        """Close the door: nobody is let in any more."""
        self._admission.drain()
        for call in self._on_drain:
            call()

    async def check(self) -> None:
        """Return when all is well.

        A media loader that died is started again here: a proxy that hears 503 sends no upload,
        which would have done it.

        Raises:
            Draining: the server is about to stop.
            NotReady: a model or the media loader is not there (yet).
        """
        if self._draining:
            raise Draining(texts.DRAINING, retry_after=5)
        if waiting := self._models.unready():
            raise NotReady(texts.NOT_READY.filled(what=", ".join(waiting)), retry_after=5)
        if not self._loader.healthy:
            await self._revive()

    async def _revive(self) -> None:
        try:
            async with asyncio.timeout(REVIVE_SECONDS):
                await self._loader.start()
        except Exception as error:
            raise NotReady(
                texts.NOT_READY.filled(what=texts.MEDIA_LOADER), retry_after=5
            ) from error


class Root:
    """GET /: what this is, for programs and people with curl; the page for those with a browser."""

    def __init__(self, page: Page | None) -> None:
        self._page = page

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Name and routes; which version it is, the log and the metrics tell. Or the page."""
        if self._page is not None:
            resp.set_header("vary", "Accept, Accept-Language")
            if wants_page(req.accept):
                self._page.show(req, resp)
                return
        resp.media = {"status": "ok", "name": "sussurro", "links": LINKS}

    on_head = on_get


class Alive:
    """GET /healthz: the event loop turns."""

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Always yes."""
        resp.media = {"status": "ok"}

    on_head = on_get


class Ready:
    """GET /readyz: 200 when requests can be served now, else 503."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Yes, with what serves; or why not."""
        await self._readiness.check()
        resp.media = {"status": "ok", "engines": self._readiness.engines}

    on_head = on_get
