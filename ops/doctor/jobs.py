"""Where jobs lie: the folder, its table, or the PostgreSQL and the store that servers share.

Knows: how each is reached as the server would.
Must not know: jobs. Nothing is changed, but for an object of no job, written and freed.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ops.finding import Finding, failed, ok
from server.jobs.audio_store import open_store
from server.settings import Settings

BUSY_SECONDS = 5.0
CONNECT_SECONDS = 3


def jobs(settings: Settings) -> Iterator[Finding]:
    """All of it."""
    url = settings.database_url.get_secret_value()
    if settings.jobs_dir is None:
        if url:
            todo = "set SUSSURRO_JOBS_DIR, too: the audio of jobs lies there"
            yield failed("jobs", "a database, and no folder for audio: no server starts so", todo)
        else:
            yield ok("jobs", "none: `background=true` and `Idempotency-Key` are refused")
        return
    yield _folder(settings.jobs_dir.expanduser(), own_table=not url)
    if audio_url := settings.jobs_audio_url.get_secret_value():
        yield _audio(audio_url, settings.spool_dir)
    if url:
        yield _postgres(url)


def _folder(folder: Path, *, own_table: bool) -> Finding:
    todo = "make it a folder that the server can write"
    if own_table:
        todo += ", on a local disk"
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    table = folder / "jobs.sqlite3"
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        if not (own_table and table.exists()):
            return ok("jobs", f"{folder}{'' if there == folder else ' will be made'}")
        uri = f"{table.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as database:
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except OSError as error:
        return failed("jobs", f"{folder}: {error.strerror}", todo)
    except sqlite3.DatabaseError as error:
        return failed("jobs", f"{table}: {error}", "move it away: its jobs are lost")
    if found != "ok":
        return failed("jobs", f"{table} is damaged", "move it away: its jobs are lost")
    return ok("jobs", f"{folder}, its table has {table.stat().st_size / 1e6:.1f} MB")


def _audio(url: str, copies: Path) -> Finding:
    scheme = url.partition("://")[0]
    try:
        open_store(copies, url, copies).close()
    except OSError as error:
        todo = "correct SUSSURRO_JOBS_AUDIO_URL, or what its library needs beside it"
        return failed("jobs audio", f"the store by {scheme}:// {error}", todo)
    return ok("jobs audio", f"by {scheme}://, which takes and frees objects")


def _postgres(url: str) -> Finding:
    try:
        import psycopg  # noqa: PLC0415 - optional
    except ImportError:
        todo = "`pip install --require-hashes -r requirements/postgres.txt`"
        return failed("jobs database", "PostgreSQL's driver is not installed", todo)
    plain = url.replace("postgresql+psycopg:", "postgresql:", 1)
    try:
        with closing(psycopg.connect(plain, connect_timeout=CONNECT_SECONDS)) as connection:
            version = connection.info.server_version // 10_000
            row = connection.execute("SHOW transaction_read_only").fetchone()
    except psycopg.Error as error:
        todo = "start it, or correct SUSSURRO_DATABASE_URL; without it no server with jobs starts"
        return failed("jobs database", f"cannot be reached ({type(error).__name__})", todo)
    if row == ("on",):
        return failed("jobs database", "takes no writes", "name the primary, not a standby")
    return ok("jobs database", f"PostgreSQL {version}")
