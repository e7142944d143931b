from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import PostgresServer
from s3_store import S3Store
from server_process import Start, launcher


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real server, for all tests."""
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[S3Store]:
    """A store with an empty bucket `jobs`."""
    folder = tmp_path / "store"
    folder.mkdir()
    found = S3Store(folder)
    try:
        found.start()
        yield found
    finally:
        found.remove()


@pytest.fixture
def start(tmp_path: Path, store: S3Store) -> Iterator[Start]:
    """Start servers that keep audio in the store, each with a folder of its own for the rest."""
    with launcher(tmp_path) as launch:

        def with_store(**environ: str) -> object:
            common = {
                "FAKE_WORDS": "1",
                "SUSSURRO_JOB_LEASE": "1",
                "SUSSURRO_DRAIN_GRACE": "0",
                "SUSSURRO_JOBS_AUDIO_URL": "s3://jobs/audio",
            }
            return launch(**{**common, **store.environ, **environ})

        yield with_store  # type: ignore[misc]
