"""The weights, in an environment that has TensorRT for RTX and little else."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def weights_dir() -> Path:
    """The folder of models, which the recipe names."""
    return Path(os.environ["SUSSURRO_TEST_WEIGHTS_DIR"])
