"""A machine that is gone without a word: nothing closes its connections."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import ray
from cluster_engines import STORE, join
from postgres_server import children
from ray.cluster_utils import Cluster

from server.audio.features import log_mel
from server.types import GenerationOptions, GenerationRequest

NOISE = np.random.default_rng(5).normal(0, 0.05, 480_000).astype(np.float32)
SOON = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
"""Ray gives a machine up after seconds, and not a minute."""


def everything(node: object) -> list[int]:
    """A node's processes, those of its actors among them."""
    found = [node.all_processes["raylet"][0].process.pid]  # type: ignore[attr-defined]
    for pid in found:
        found += children(pid)
    return found


def test_windows_of_a_frozen_machine_are_run_elsewhere(prompt: tuple[int, ...]) -> None:
    """As soon as Ray has given it up, though its calls go on without an end."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "object_store_memory": STORE,
            "include_dashboard": False,
            "_system_config": SOON,
        },
    )
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)]
    engine = join(cluster, prompt, least=2)
    frozen: list[int] = []
    try:
        options = GenerationOptions(beam_size=5, max_new_tokens=60)
        features = log_mel(NOISE, 80)[:, :3000]
        requests = [GenerationRequest(n, prompt, options, features) for n in range(8)]
        before = engine.generate(requests[0]).result(60).hypotheses[0].tokens
        futures = [engine.generate(request) for request in requests]
        while engine.stats().running < 8:
            time.sleep(0.01)
        frozen = everything(nodes[0])
        names = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in frozen]
        assert any(name.startswith(b"ray::_Placed") for name in names), names
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        started = time.monotonic()
        assert {before} == {future.result(40).hypotheses[0].tokens for future in futures}
        assert time.monotonic() - started < 40
        assert 4 == engine.info.max_in_flight
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGKILL)
        engine.close(2)
        ray.shutdown()
        cluster.shutdown()
