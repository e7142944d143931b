from collections.abc import Iterator

import pytest
import ray
from cluster_engines import STORE, WEIGHTS
from ray.cluster_utils import Cluster

from server.decoding.prompt import build_prompt
from server.decoding.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(WEIGHTS / "base" / "tokenizer.json")


@pytest.fixture(scope="session")
def prompt(tokenizer: Tokenizer) -> tuple[int, ...]:
    return build_prompt(tokenizer, "pt", "transcribe", without_timestamps=True)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without cores; tests add the nodes that they need."""
    found = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False},
    )
    yield found
    ray.shutdown()
    found.shutdown()
