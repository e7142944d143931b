"""Loads: how many are under way, when they end, and what is counted."""

import threading
import time
from pathlib import Path

import pytest

from ops.accuracy.manifest import Clip
from ops.bench.load import closed_loop, in_the_background, open_loop
from ops.client import ClientError

CLIPS = [Clip(Path(f"{name}.ogg"), "en", 4.0, "", "", "") for name in "abc"]


class Server:
    """Takes a while for each clip, and counts how many it has at once."""

    def __init__(self, seconds: float = 0.01) -> None:
        self.asked: list[str] = []
        self.most = self._now = 0
        self._seconds = seconds
        self._lock = threading.Lock()

    def __call__(self, clip: Clip) -> str:
        with self._lock:
            self.asked.append(clip.name)
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self._seconds)
        with self._lock:
            self._now -= 1
        if clip.name == "c.ogg":
            raise ClientError("the server answered 503: full")
        return clip.name


def test_a_closed_loop_keeps_so_many_clients_busy() -> None:
    """Each clip in turn, the count exactly, never more at once than there are clients."""
    server = Server()
    samples = closed_loop(server, CLIPS, clients=2, count=7, seconds=60)
    assert ["a.ogg", "b.ogg", "c.ogg"] * 2 + ["a.ogg"] == server.asked
    assert 2 == server.most
    assert 7 == len(samples)
    assert 2 == sum(sample.error is not None for sample in samples)


def test_a_closed_loop_is_bounded_in_time() -> None:
    """What runs at the end is waited for; nothing new is begun."""
    server = Server()

    def clock() -> float:
        """A minute for each clip that was sent."""
        return 60.0 * len(server.asked)

    samples = closed_loop(server, CLIPS, clients=1, count=1000, seconds=150, clock=clock)
    assert 3 == len(samples) == len(server.asked)


def test_an_open_loop_does_not_wait_for_answers() -> None:
    """A slow server has many at once; the rate says when the last one is sent."""
    server = Server(0.3)
    started = time.perf_counter()
    samples = open_loop(server, CLIPS, rate=50, count=10, seconds=60)
    assert (10, 10) == (len(samples), len(server.asked))
    assert server.most > 5
    assert 0.48 <= time.perf_counter() - started < 5
    assert 1 == len(open_loop(server, CLIPS, rate=2, count=1000, seconds=0.5))


def test_the_background_goes_on_until_it_is_left() -> None:
    """Over and over, and its last answer is waited for."""
    server = Server(0.02)
    with in_the_background(server, CLIPS[0]) as samples:
        time.sleep(0.1)
    assert len(samples) == len(server.asked) > 1


@pytest.mark.parametrize("clients", [1, 3])
def test_a_latency_is_that_of_the_request(clients: int) -> None:
    """However many clients there are."""
    samples = closed_loop(Server(0.05), CLIPS[:1], clients=clients, count=6, seconds=60)
    assert all(0.05 <= sample.latency < 1 for sample in samples)
