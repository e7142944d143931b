"""Engines on a cluster's GPUs: one each, and what they say is what one on this machine says.

Ray counts GPUs that are not there; TensorRT-LLM is its strict double.
"""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import double_gpus
import numpy as np
import pytest
from cluster_engines import STORE, join
from engine_folder import CARD, make_folder, open_double, small_checkpoint
from ray.cluster_utils import Cluster

from server.audio.features import log_mel
from server.decoding.tokenizer import Tokenizer
from server.engines.manifest import verify
from server.types import GenerationOptions, GenerationRequest

RANDOM = np.random.default_rng(7)
FEATURES = [
    log_mel(RANDOM.normal(0, 0.05, 480_000).astype(np.float32), 80)[:, :3000] for _ in range(6)
]


@pytest.fixture
def gpus(cluster: Cluster) -> Iterator[None]:
    """A machine of two GPUs, one of one, and one of none."""
    nodes = [
        cluster.add_node(num_cpus=4, num_gpus=count, object_store_memory=STORE)
        for count in (2, 1, 0)
    ]
    yield
    for node in nodes:
        cluster.remove_node(node, allow_graceful=True)


def windows(prompt: tuple[int, ...]) -> list[GenerationRequest]:
    options = GenerationOptions(beam_size=1, max_new_tokens=12)
    return [GenerationRequest(n, prompt, options, each) for n, each in enumerate(FEATURES)]


@pytest.mark.usefixtures("gpus")
def test_each_engine_has_a_gpu_to_itself(
    cluster: Cluster, prompt: tuple[int, ...], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """Three on three GPUs, none where there is none; the tokens are those of one without Ray."""
    built, told = tmp_path / "built", tmp_path / "told"
    built.mkdir()
    told.mkdir()
    make_folder(built, small_checkpoint())
    alone = open_double(built, verify(built, CARD), tokenizer)
    expected = [alone.generate(each).result(60).hypotheses[0].tokens for each in windows(prompt)]
    alone.close(5)

    member = partial(double_gpus.load, str(told), "base", built, tokenizer, devices=(0,))
    engine = join(cluster, prompt, member, gpus=1, least=3)
    try:
        futures = [engine.generate(each) for each in windows(prompt)]
        found = [future.result(120).hypotheses[0].tokens for future in futures]
        time.sleep(3)  # two looks at the cluster: nobody else is hired
        info = engine.info
    finally:
        engine.close(10)

    assert expected == found
    assert "ray+tensorrt_llm" == info.name
    assert ["0", "0", "1"] == sorted(path.name.partition(" ")[2] for path in told.iterdir())
