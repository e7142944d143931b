"""What runs in an actor: one engine, warmed, and the encodings that its windows may need again.

Knows: an engine, orders and answers.
Must not know: Ray, who sends the orders. Nothing leaves it but answers: errors are words.
"""

import asyncio
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from typing import Any

import numpy as np

from server.audio.features import log_mel
from server.engines.base import Engine, EngineInfo
from server.engines.crew_orders import Answer, Failure, Order
from server.errors import DeadlineExceeded, EngineUnavailable, Overloaded, ServerError
from server.types import SAMPLE_RATE, GenerationOptions, GenerationRequest, LogMel

KEPT = 4
"""Encodings that are kept for each place: what was asked for again later is made anew."""


class Worker:
    """One engine. Loading blocks; whatever is asked of it afterwards waits until it is warm."""

    def __init__(self, load: Callable[[], Engine], prompt: Sequence[int]) -> None:
        """Warmed by a window of noise under `prompt`, so that the first real one need not wait."""
        self._engine = load()
        self._keys = itertools.count(1)
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._most = KEPT * self._engine.info.max_in_flight
        noise = np.random.default_rng(0).normal(0.0, 0.1, SAMPLE_RATE).astype(np.float32)
        features = log_mel(noise, self._engine.info.n_mels)
        options = GenerationOptions(beam_size=1, max_new_tokens=8)
        self._engine.generate(GenerationRequest(0, tuple(prompt), options, features)).result()

    async def info(self) -> EngineInfo:
        """What is loaded; an answer says that it is warm."""
        return self._engine.info

    async def call(self, order: Order, features: LogMel | None) -> Answer:
        """Run one window to its end."""
        encoded = self._kept.get(order.key) if order.key is not None else None
        if order.key is not None and encoded is None:
            return Answer(failure="lost")
        deadline = None if order.left_s is None else time.monotonic() + order.left_s
        window = features if encoded is None else None
        request: Any = replace(order.request, features=window, encoded=encoded, deadline=deadline)
        run: Callable[[Any], Future[Any]] = getattr(self._engine, order.kind)
        try:
            result = await asyncio.wrap_future(run(request))
        except (asyncio.CancelledError, CancelledError):
            return Answer(failure="cancelled")
        except ServerError as error:
            return Answer(failure=_failure(error), message=error.message, reason=error.reason)
        if order.kind == "align":
            return Answer(result)
        key = self._keep(order.key, result.encoded)
        return Answer(replace(result, encoded=None), key)

    async def cancel(self, request_ids: Sequence[int]) -> None:
        """Drop what waits under these ids."""
        for request_id in request_ids:
            self._engine.cancel(request_id)

    def _keep(self, key: int | None, encoded: object) -> int:
        """The encoding's name; the one that was not used for longest is forgotten."""
        key = next(self._keys) if key is None else key
        self._kept[key] = encoded
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return key


def _failure(error: ServerError) -> Failure:
    if isinstance(error, DeadlineExceeded):
        return "deadline"
    if isinstance(error, Overloaded):
        return "overloaded"
    return "broken" if isinstance(error, EngineUnavailable) else "failed"
