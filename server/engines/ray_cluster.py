"""Members of a crew as actors of a Ray cluster, one engine each.

Knows: Ray's calls and errors. The only file that imports ray, itself imported where
`SUSSURRO_ENGINE` is `ray` alone.
Must not know: which engine runs in an actor, which windows are whose.

The cluster is there before the server and outlives it (docs/cluster.md): the server joins it by
the Ray node on its own machine, and its actors end with it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import ray
from ray._private import worker as ray_driver

from server.engines.base import Engine, EngineInfo
from server.engines.batching import WINDOW_TIMEOUT
from server.engines.crew import CrewEngine
from server.engines.crew_orders import Answer, Gone, Order
from server.engines.ray_worker import Worker
from server.errors import EngineError
from server.types import LogMel

CALLS = 10_000
"""Calls that an actor takes at once: the crew bounds them, and cancelling must never wait."""


def load(  # noqa: PLR0913 - settings of one model, all by name
    engine: Callable[[], Engine],
    prompt: Sequence[int],
    *,
    address: str,
    cpus: int,
    least: int,
    most: int,
    window_timeout: float = WINDOW_TIMEOUT,
) -> CrewEngine:
    """Join the cluster and hire; blocks until `least` engines are warm.

    Args:
        engine: opens an engine, blocking, on whichever machine it is called; picklable.
        prompt: of a window that warms it.
        address: `auto`, or `host:port` of the cluster's head.
        cpus: cores that one engine counts for.
        least: engines to wait for.
        most: engines at most; 0 is as many as there is room for.
        window_timeout: seconds after which a window counts as stuck.

    Raises:
        EngineError: no cluster answers, or its engines cannot be loaded.
    """
    if not ray.is_initialized():
        # Standard output is our log, a JSON object a line. Ray prints a lost node's last words
        # there, and has no setting against it; tests/ray/test_server.py notices if this fails.
        ray_driver.print_to_stdstream = _silent
        try:
            ray.init(
                address=address,
                namespace="sussurro",
                configure_logging=False,
                log_to_driver=False,
                include_dashboard=False,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise EngineError(f"No Ray cluster answers at {address}.") from error
    agency = _Cluster(engine, prompt, cpus)
    return CrewEngine(agency, least=least, most=most, window_timeout=window_timeout)


class _Cluster:
    """`Agency` over the cluster that this process has joined."""

    def __init__(self, engine: Callable[[], Engine], prompt: Sequence[int], cpus: int) -> None:
        self._cpus = cpus
        self._actors = ray.remote(Worker).options(
            num_cpus=cpus,
            max_concurrency=CALLS,
            max_restarts=0,  # the crew replaces them: what a new one needs to know it alone knows
        )
        self._engine, self._prompt = engine, tuple(prompt)

    def room(self) -> int:
        """What each machine can hold, summed up: an engine does not spread over two."""
        return sum(
            int(node["Resources"].get("CPU", 0)) // self._cpus
            for node in ray.nodes()
            if node["Alive"]
        )

    def hire(self) -> "tuple[_Actor, Future[EngineInfo]]":
        """Ray starts it as soon as a machine has room."""
        actor = self._actors.remote(self._engine, self._prompt)
        return _Actor(actor), _told(actor.info.remote())

    def close(self) -> None:
        """Nothing: actors are dismissed one by one, and another model may need the cluster."""


class _Actor:
    """`Member` by an actor's handle."""

    def __init__(self, actor: Any) -> None:  # noqa: ANN401 - Ray's handles have no types
        self._actor = actor

    def send(self, order: Order, features: LogMel | None) -> Future[Answer]:
        """Features are written into shared memory, and read there without a copy."""
        window = None if features is None else ray.put(features)
        return _told(self._actor.call.remote(order, window))

    def cancel(self, request_ids: Sequence[int]) -> None:
        """Told, not waited for."""
        self._actor.cancel.remote(list(request_ids))

    def dismiss(self) -> None:
        """At once: whatever it does is nobody's any more."""
        ray.kill(self._actor)


def _silent(_data: object, ignore_prefix: bool = False) -> None:
    """In place of Ray's printing."""


def _told(ref: Any) -> Future[Any]:  # noqa: ANN401 - Ray's references have no types
    """Ray's future with our words for a lost actor."""
    told: Future[Any] = Future()

    def done(future: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            told.set_result(future.result())
            return
        # The name alone: Ray's words hold addresses.
        told.set_exception(Gone(type(error).__name__))

    ref.future().add_done_callback(done)
    return told
