"""What all tests share: the weights, and an environment without settings."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from redis_server import RedisServer

settings.register_profile("untimed", deadline=None)  # a busy machine is no fault of the code's
settings.load_profile("untimed")

WEIGHTS_DIR = Path(
    os.environ.get("SUSSURRO_TEST_WEIGHTS_DIR", "~/.cache/sussurro/weights")
).expanduser()


def pytest_make_parametrize_id(val: object) -> str | None:
    """Keys are new in every process, which must agree on the names of tests."""
    if isinstance(val, str) and "wsk_" in val:
        return re.sub(r"(wsk_[a-z0-9-]+_)\w+", r"\1key", val).encode("unicode_escape").decode()
    return None


@pytest.fixture(scope="session", autouse=True)
def _no_settings() -> Iterator[None]:
    """The settings of whoever runs the tests must not reach them."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("SUSSURRO_")}
    for name in kept:
        del os.environ[name]
    yield
    os.environ.update(kept)


@pytest.fixture(scope="session")
def weights_dir() -> Path:
    """The folder of models with the real `base` in it; for tests marked `model`."""
    if not (WEIGHTS_DIR / "base" / "model.bin").is_file():
        pytest.fail("no weights: run ./just test, or ./just weights once")
    return WEIGHTS_DIR


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A running Redis."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()
