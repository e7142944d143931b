"""Databases of jobs, empty, on both kinds."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from postgres_server import PostgresServer
from tables import Tables


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real server, for all tests."""
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


NUMBERS = itertools.count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def tables(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tables]:
    """Empty tables, on each kind of database."""
    url = ""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        name = f"jobs{next(NUMBERS)}"
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        url = server.url(name)
    made = Tables(tmp_path, url)
    yield made
    made.close()
