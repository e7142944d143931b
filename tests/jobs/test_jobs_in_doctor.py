"""`ops doctor` at a real PostgreSQL and a table that a server has written."""

from pathlib import Path

import psycopg
from postgres_server import PostgresServer
from pydantic import SecretStr
from tables import Tables

from ops.doctor.jobs import jobs
from server.settings import Settings


def test_a_table_that_works_is_well(tables: Tables, tmp_path: Path) -> None:
    """On either database."""
    settings = Settings(jobs_dir=tables.folder, database_url=SecretStr(tables.url))
    found = {each.check: each for each in jobs(settings)}

    assert {"ok"} == {each.state for each in found.values()}
    assert (
        ("PostgreSQL" in found["jobs database"].found)
        if tables.url
        else ("MB" in found["jobs"].found)
    )


def test_a_standby_takes_no_jobs(postgres: PostgresServer, tmp_path: Path) -> None:
    """A database that only reads is told apart."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE standby")
        connection.execute("ALTER DATABASE standby SET default_transaction_read_only = on")
    url = SecretStr(postgres.url("standby"))
    _, database = jobs(Settings(jobs_dir=tmp_path, database_url=url))

    assert ("failed", "takes no writes") == (database.state, database.found)
