"""The usage database, copied out of and into a file that a server may be using.

Knows: SQLite's online backup, and the table's columns.
Must not know: what is counted.
"""

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

BUSY_SECONDS = 10.0
"""A server writes for milliseconds."""


class DatabaseError(Exception):
    """It cannot be read, written, or is damaged."""


def copy_out(path: Path) -> bytes:
    """The database as it is at one moment; a server goes on writing meanwhile.

    Raises:
        DatabaseError: it cannot be read, or is damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "usage")
        uri = f"{path.absolute().as_uri()}?mode=ro"
        try:
            with (
                closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as source,
                closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")
                _check(target)
        except sqlite3.Error as error:
            raise DatabaseError(f"{path} cannot be copied: {error}") from error
        return copy.read_bytes()


def check(data: bytes) -> None:
    """See that a copy is whole.

    Raises:
        DatabaseError: it is not.
    """
    with tempfile.TemporaryDirectory() as folder:
        _opened(data, Path(folder, "usage")).close()


def copy_in(data: bytes, path: Path) -> None:
    """Put a copy in the database's place, in one transaction.

    A server that uses the database goes on with what is there then: the file and its journal mode
    stay.

    Raises:
        DatabaseError: it cannot be written; it is as it was before.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = _opened(data, Path(folder, "usage"))
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            with closing(source), closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as target:
                source.backup(target)
        except (sqlite3.Error, OSError) as error:
            raise DatabaseError(f"{path} cannot be written: {error}") from error


def _opened(data: bytes, path: Path) -> sqlite3.Connection:
    path.write_bytes(data)
    database = sqlite3.connect(path)
    try:
        _check(database)
    except (sqlite3.Error, DatabaseError) as error:
        database.close()
        raise DatabaseError(f"the copy of the usage database is damaged: {error}") from error
    return database


def _check(database: sqlite3.Connection) -> None:
    found = [row[0] for row in database.execute("PRAGMA integrity_check")]
    if found != ["ok"]:
        raise DatabaseError("; ".join(found[:3]))
    database.execute("SELECT name, hour, requests, audio_ms FROM usage LIMIT 1").fetchone()
