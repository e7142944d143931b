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


def test_a_store_of_audio_is_tried(tmp_path: Path) -> None:
    """By an object of no job, which is freed; what fails is told without the URL's secrets."""
    objects = tmp_path / "objects"
    objects.mkdir()
    _, good = jobs(Settings(jobs_dir=tmp_path, jobs_audio_url=SecretStr(f"file://{objects}")))
    (tmp_path / "file").touch()
    url = SecretStr(f"file://{tmp_path}/file/secret")
    _, bad = jobs(Settings(jobs_dir=tmp_path, jobs_audio_url=url))

    assert ("ok", "jobs audio") == (good.state, good.check)
    assert [] == list(objects.iterdir())
    assert "failed" == bad.state
    assert "secret" not in repr(bad)
