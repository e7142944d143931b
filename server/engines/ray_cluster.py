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
from ray.exceptions import ActorDiedError, ActorUnavailableError, AuthenticationError

from server.engines.base import Engine, EngineInfo
from server.engines.batching import WINDOW_TIMEOUT
from server.engines.crew import CrewEngine
from server.engines.crew_orders import Answer, Cause, Gone, Order
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
    gpus: int = 0,
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
        gpus: GPUs that one engine has to itself.
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
        except AuthenticationError as error:
            raise EngineError(f"The Ray cluster at {address} refuses our token.") from error
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise EngineError(f"No Ray cluster answers at {address}.") from error
    agency = _Cluster(engine, prompt, cpus, gpus)
    return CrewEngine(agency, least=least, most=most, window_timeout=window_timeout)


class _Cluster:
    """`Agency` over the cluster that this process has joined."""

    def __init__(
        self, engine: Callable[[], Engine], prompt: Sequence[int], cpus: int, gpus: int
    ) -> None:
        self._needs = {"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus}
        self._alive: set[str] = set()
        self._actors = ray.remote(_Placed).options(
            num_cpus=cpus,
            num_gpus=gpus,
            max_concurrency=CALLS,
            max_restarts=0,  # the crew replaces them: what a new one needs to know it alone knows
        )
        self._engine, self._prompt = engine, tuple(prompt)

    def room(self) -> int:
        """What each machine can hold, summed up: an engine does not spread over two."""
        nodes = [node for node in ray.nodes() if node["Alive"]]
        self._alive = {node["NodeID"] for node in nodes}
        return sum(
            min(int(node["Resources"].get(kind, 0)) // each for kind, each in self._needs.items())
            for node in nodes
        )

    def hire(self) -> "tuple[_Actor, Future[EngineInfo]]":
        """Ray starts it as soon as a machine has room."""
        actor = _Actor(self._actors.remote(self._engine, self._prompt), self.lost)
        return actor, actor.warm()

    def lost(self, node: str) -> bool:
        """Whether Ray has given a machine up, as of the last look."""
        return bool(self._alive) and node not in self._alive

    def close(self) -> None:
        """Nothing: actors are dismissed one by one, and another model may need the cluster."""


class _Placed(Worker):
    """A worker that knows on which of Ray's nodes it is."""

    async def place(self) -> tuple[EngineInfo, str]:
        """What is loaded, and the node's id; an answer says that it is warm."""
        return await self.info(), ray.get_runtime_context().get_node_id()


class _Actor:
    """`Member` by an actor's handle."""

    def __init__(self, actor: Any, lost: Callable[[str], bool]) -> None:  # noqa: ANN401 - Ray's handles have no types
        self._actor, self._lost = actor, lost
        self._node: str | None = None

    def warm(self) -> Future[EngineInfo]:
        """Ends when it can be used."""
        return _told(self._actor.place.remote(), self._placed)

    def _placed(self, place: tuple[EngineInfo, str]) -> EngineInfo:
        info, self._node = place
        return info

    def gone(self) -> bool:
        """Calls to a machine without power fail after minutes, long after Ray has given it up."""
        return self._node is not None and self._lost(self._node)

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


def _cause(error: BaseException) -> Cause:
    """Why an actor is gone, as far as Ray tells.

    Whose process ends is reported dead by its node within milliseconds. If nobody reports it for a
    second the error is `ActorUnavailableError`, and node or network are gone; so is the node if
    Ray's words say so, for which its error has no field.
    """
    if isinstance(error, ActorDiedError):
        return "machine" if "its node has died" in error.error_msg else "engine"
    return "machine" if isinstance(error, ActorUnavailableError) else "engine"


def _told(ref: Any, then: Callable[[Any], Any] = lambda result: result) -> Future[Any]:  # noqa: ANN401 - Ray's references have no types
    """Ray's future with our words for a lost actor."""
    told: Future[Any] = Future()

    def done(future: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            told.set_result(then(future.result()))
            return
        # The name alone: Ray's words hold addresses.
        told.set_exception(Gone(type(error).__name__, _cause(error)))

    ref.future().add_done_callback(done)
    return told
