"""What is killed when: chance from a seed, until somebody says stop.

Knows: kinds of faults, how often, for how long what was killed stays away.
Must not know: clients, promises.
"""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

from world import World, kill

WEIGHTS = {"server": 3, "frozen server": 1, "postgres": 2, "actor": 4, "node": 3, "receiver": 3}
AWAY = {
    "server": (0.0, 3.0),
    "frozen server": (4.0, 7.0),
    "postgres": (0.0, 4.0),
    "actor": (0.0, 0.0),
    "node": (0.0, 5.0),
    "receiver": (0.0, 6.0),
}
"""Seconds until the supervisor, or whoever it is, starts it again; a frozen one is let go on with
jobs whose lease is over."""


class Faults:
    """Kills, each in a thread of its own: a second kind may fall into the first one's pause."""

    def __init__(self, world: World, seed: int, gap: float) -> None:
        """`gap`: seconds between two kills on average."""
        self._world = world
        self._chance = random.Random(seed)
        self._gap = gap
        self.kills: Counter[str] = Counter()
        self.errors: list[str] = []
        self._busy: dict[str, threading.Thread] = {}

    def run(self, seconds: float, broken: Callable[[], bool]) -> None:
        """Until the time is over, or something is `broken` already; then all is there again."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not broken():
            time.sleep(min(self._chance.expovariate(1 / self._gap), end - time.monotonic() + 0.1))
            kind = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            away, which = self._chance.uniform(*AWAY[kind]), self._chance.random()
            before = self._busy.get(kind)
            if before is not None and before.is_alive():
                continue
            self._busy[kind] = threading.Thread(target=self._one, args=(kind, away, which))
            self._busy[kind].start()
        for thread in self._busy.values():
            thread.join()

    def _one(self, kind: str, away: float, which: float) -> None:
        try:
            if getattr(self, f"_{kind.replace(' ', '_')}")(away, which):
                self.kills[kind] += 1
        except Exception as error:  # noqa: BLE001 - a run whose faults do not work proves nothing
            self.errors.append(f"{kind}: {type(error).__name__}: {error}")

    def _server(self, away: float, which: float) -> bool:
        servers = self._world.servers
        server = servers[int(which * len(servers))]
        server.pause = away
        server.kill()
        return True

    def _frozen_server(self, away: float, which: float) -> bool:
        servers = self._world.servers
        process = servers[int(which * len(servers))].processes[-1].popen
        process.send_signal(signal.SIGSTOP)
        time.sleep(away)
        process.send_signal(signal.SIGCONT)
        return True

    def _postgres(self, away: float, _which: float) -> bool:
        self._world.postgres.kill()
        time.sleep(away)
        self._world.postgres.start()
        return True

    def _actor(self, _away: float, which: float) -> bool:
        actors = self._world.actors()
        if actors:
            kill(actors[int(which * len(actors))])
        return bool(actors)

    def _node(self, away: float, which: float) -> bool:
        nodes = self._world.nodes()
        if nodes:
            self._world.cluster.remove_node(nodes[int(which * len(nodes))], allow_graceful=False)
        time.sleep(away)
        self._world.add_node()
        return bool(nodes)

    def _receiver(self, away: float, _which: float) -> bool:
        self._world.receiver.kill()
        time.sleep(away)
        self._world.receiver.start()
        return True
