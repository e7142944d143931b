"""Actors and nodes that are killed, join and leave, over a real cluster on this machine."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cluster_engines
import numpy as np
import pytest
from cluster_engines import STORE, join
from ray.cluster_utils import Cluster

from server.audio.features import log_mel
from server.engines.crew import CrewEngine
from server.errors import EngineError
from server.types import GenerationOptions, GenerationRequest

RANDOM = np.random.default_rng(5)
FEATURES = [
    log_mel(RANDOM.normal(0, 0.05, 480_000).astype(np.float32), 80)[:, :3000] for _ in range(8)
]


@pytest.fixture(autouse=True)
def nodes(cluster: Cluster) -> None:
    """Two nodes of one core each, whatever the test before has left."""
    while len(cluster.worker_nodes) < 2:
        cluster.add_node(num_cpus=1, object_store_memory=STORE)


def windows(prompt: tuple[int, ...]) -> list[GenerationRequest]:
    options = GenerationOptions(beam_size=5, max_new_tokens=60)
    return [GenerationRequest(n, prompt, options, each) for n, each in enumerate(FEATURES)]


def texts(engine: CrewEngine, requests: list[GenerationRequest]) -> list[tuple[int, ...]]:
    futures = [engine.generate(request) for request in requests]
    return [future.result(120).hypotheses[0].tokens for future in futures]


def until(true: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_killed_actor_changes_no_text(
    cluster: Cluster, prompt: tuple[int, ...], tmp_path: Path
) -> None:
    """Kill -9 in mid-batch: the same tokens as before, and another actor takes its place."""
    engine = join(cluster, prompt, partial(cluster_engines.told_pid, str(tmp_path)), least=2)
    try:
        before = texts(engine, windows(prompt))
        futures = [engine.generate(request) for request in windows(prompt)]
        until(lambda: engine.stats().running == 8)
        time.sleep(0.3)
        os.kill(int(next(tmp_path.iterdir()).name), signal.SIGKILL)
        assert before == [future.result(120).hypotheses[0].tokens for future in futures]
        until(lambda: len(list(tmp_path.iterdir())) == 3)
        until(lambda: engine.info.max_in_flight == 8)
    finally:
        engine.close(2)


def test_a_killed_node_changes_no_text_and_a_new_one_gets_windows(
    cluster: Cluster, prompt: tuple[int, ...], tmp_path: Path
) -> None:
    """Kill -9 of a raylet in mid-batch; then a node joins while windows run."""
    engine = join(cluster, prompt, partial(cluster_engines.told_pid, str(tmp_path)), least=2)
    try:
        before = texts(engine, windows(prompt))
        futures = [engine.generate(request) for request in windows(prompt)]
        until(lambda: engine.stats().running == 8)
        time.sleep(0.3)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        assert before == [future.result(120).hypotheses[0].tokens for future in futures]
        assert 4 == engine.info.max_in_flight
        futures = [engine.generate(request) for request in windows(prompt)]
        cluster.add_node(num_cpus=1, object_store_memory=STORE)
        until(lambda: engine.info.max_in_flight == 8)
        assert before == [future.result(120).hypotheses[0].tokens for future in futures]
        futures = [engine.generate(request) for request in windows(prompt)]
        until(lambda: engine.stats().running == 8)
        assert before == [future.result(120).hypotheses[0].tokens for future in futures]
    finally:
        engine.close(2)


def test_a_window_outlives_two_engines(
    cluster: Cluster, prompt: tuple[int, ...], tmp_path: Path
) -> None:
    """Killed from outside while it was there: no fault of its own, and the same tokens."""
    engine = join(cluster, prompt, partial(cluster_engines.told_pid, str(tmp_path)), most=1)
    try:
        before = texts(engine, windows(prompt)[:1])
        future = engine.generate(windows(prompt)[0])
        for _ in range(2):
            until(lambda: engine.stats().running == 1)
            for pid in tmp_path.iterdir():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid.name), signal.SIGKILL)
            until(lambda: engine.stats().running == 0)
        assert before == [future.result(120).hypotheses[0].tokens]
        assert 3 == len(list(tmp_path.iterdir()))
    finally:
        engine.close(2)


def test_a_poison_window_fails_alone(cluster: Cluster, prompt: tuple[int, ...]) -> None:
    """It ends three actors; the windows beside it have the text that they always have."""
    engine = join(cluster, prompt, cluster_engines.load, least=2)
    try:
        before = texts(engine, windows(prompt))
        requests = windows(prompt)
        poison = GenerationRequest(99, prompt, requests[0].options, np.full_like(FEATURES[0], 7))
        futures = [engine.generate(request) for request in [*requests[:3], poison, *requests[3:]]]
        with pytest.raises(EngineError) as caught:
            futures.pop(3).result(120)
        assert "poison_window" == caught.value.reason
        assert before == [future.result(120).hypotheses[0].tokens for future in futures]
    finally:
        engine.close(2)


def test_every_future_ends_on_close(cluster: Cluster, prompt: tuple[int, ...]) -> None:
    """Within the time that it was given, and the actors are gone."""
    engine = join(cluster, prompt, least=2)
    futures = [engine.generate(request) for request in windows(prompt) * 3]
    # Exactly that many: with so many waiting, the two have all the places that they have.
    until(lambda: engine.stats().running == engine.info.max_in_flight + engine.info.spare)
    started = time.monotonic()
    engine.close(0.2)
    assert time.monotonic() - started < 5
    assert all(future.done() for future in futures)
