"""The models: their names, the alias `whisper-1`, and OpenAI's list of them.

Knows: names and who answers for them.
Must not know: engines' insides, weights.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import falcon.asgi

from server import texts
from server.access.scopes import require
from server.errors import ModelNotFound, NotReady
from server.http.exchange import caller_of
from server.http.parts import Transcriber

ALIAS = "whisper-1"
"""OpenAI's name; n8n's audio node sends nothing else. The first model answers for it."""


class Models:
    """Names from the settings; `transcribers` fills while they load."""

    def __init__(self, names: Sequence[str], transcribers: Mapping[str, Transcriber]) -> None:
        self._real = {name: name for name in names}
        self._default = names[0]
        self._real.setdefault(ALIAS, self._default)
        self._transcribers = transcribers

    @property
    def names(self) -> tuple[str, ...]:
        """What a caller may ask for, the alias included."""
        return tuple(self._real)

    def find(self, name: str | None) -> tuple[str, Transcriber]:
        """The model of this name, and what it is really called; None is the first one.

        Raises:
            ModelNotFound: no such name.
            NotReady: it is still loading.
        """
        if name is not None and name not in self._real:
            raise self.not_found()
        real = self._real[name or self._default]
        if real not in self._transcribers:
            raise NotReady(texts.MODEL_LOADING, retry_after=10)
        return real, self._transcribers[real]

    def known(self, name: str | None) -> str | None:
        """The name, if there is such a model; Azure's deployments are called anything."""
        return name if name in self._real else None

    def not_found(self) -> ModelNotFound:
        """There is no such model; the message names those that there are."""
        return ModelNotFound(texts.NO_SUCH_MODEL.filled(known=", ".join(self._real)), param="model")

    def unready(self) -> tuple[str, ...]:
        """Names of models that are loading, or whose engine has failed."""
        return tuple(
            name
            for name in dict.fromkeys(self._real.values())
            if name not in self._transcribers or not self._transcribers[name].engine.stats().healthy
        )


class ModelList:
    """GET /v1/models and GET /v1/models/{id}; n8n tests its credentials with the first."""

    def __init__(self, models: Models, created: int) -> None:
        self._models = models
        self._created = created

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """All of them."""
        require(caller_of(req), "models")
        resp.media = {"object": "list", "data": [self._entry(n) for n in self._models.names]}

    async def on_get_one(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, model: str
    ) -> None:
        """One of them; its id may hold slashes."""
        require(caller_of(req), "models")
        if model not in self._models.names:
            raise self._models.not_found()
        resp.media = self._entry(model)

    on_head = on_get
    on_head_one = on_get_one

    def _entry(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "sussurro"}
