import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ray.cluster_utils import Cluster

from server.engines import ctranslate2
from server.engines.base import Engine
from server.engines.crew import CrewEngine
from server.engines.ray_cluster import load as load_on_ray

WEIGHTS = Path(
    os.environ.get("SUSSURRO_TEST_WEIGHTS_DIR", "~/.cache/sussurro/weights")
).expanduser()
STORE = 200 << 20

base = partial(
    ctranslate2.load,
    "base",
    WEIGHTS / "base",
    compute_type="int8",
    workers=1,
    threads=1,
    max_batch_size=4,
    encoder="ctranslate2",
)


def join(
    cluster: Cluster, prompt: tuple[int, ...], engine: object = base, **more: int
) -> CrewEngine:
    """The crew of a cluster, as the server makes it."""
    options = {"cpus": 1, "least": 1, "most": 0, "window_timeout": 60.0, **more}
    return load_on_ray(engine, prompt, address=cluster.address, **options)  # type: ignore[arg-type]


class Stumbling:
    """CTranslate2's engine, but a window of a certain value ends its process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def generate(self, request: Any) -> Any:
        if request.features is not None and np.all(request.features[0] == 7):
            os.kill(os.getpid(), signal.SIGKILL)
        return self._engine.generate(request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def load() -> Any:
    return Stumbling(base())


def told_pid(folder: str) -> Any:
    """The engine; its process is told in a file."""
    (Path(folder) / str(os.getpid())).touch()
    return base()
