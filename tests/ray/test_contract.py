"""The contract suite over two nodes of one core each."""

from collections.abc import Iterator

import pytest
from cluster_engines import STORE, join
from ray.cluster_utils import Cluster
from test_engine import *  # noqa: F403 - the suite of every engine

from server.decoding.tokenizer import Tokenizer
from server.engines.base import Engine


@pytest.fixture(scope="module")
def loaded(
    cluster: Cluster, tokenizer: Tokenizer, prompt: tuple[int, ...]
) -> Iterator[tuple[Engine, Tokenizer]]:
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=STORE)
    engine = join(cluster, prompt, least=2)
    yield engine, tokenizer
    engine.close(5)
