"""`ops backup` and `ops restore`.

Knows: flags, exit codes, how a backup's file is made.
Must not know: what is in one, or where it goes.

Exit codes: 0 done; 1 it could not be done, and nothing was changed; 2 wrong usage; 78 wrong
settings.
"""

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from ops.backup import archive, places
from ops.backup.archive import ArchiveError
from ops.backup.database import DatabaseError
from ops.backup.restore import Restore
from ops.backup.save import save
from ops.finding import tell
from ops.options import AS_JSON
from ops.settings import read_settings
from server import __version__


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@AS_JSON
def backup(*, file: Path, force: bool, as_json: bool) -> None:
    """Write what nothing else could bring back into FILE, also while the server runs.

    Key records (hashes), token keys, usage, settings without secrets, and what each engine is; not
    the engines and weights. FILE can be read by its owner alone; - is standard output.
    """
    settings = read_settings()
    with _told():
        if file.exists() and not force:
            raise ArchiveError(f"{file} is there already; --force replaces it")
        saved = save(settings, os.environ)
        out = io.BytesIO()
        created = datetime.now(UTC).isoformat(timespec="seconds")
        contents = archive.write(
            out, saved.files, saved.active, version=__version__, created=created
        )
        if str(file) == "-":
            sys.stdout.buffer.write(out.getvalue())
        else:
            _put(file, out.getvalue())
    sizes = {name: member.bytes for name, member in contents.members.items()}
    if as_json:
        click.echo(json.dumps({"file": str(file), "members": sizes}), err=str(file) == "-")
        return
    for name, size in sizes.items():
        click.echo(f"{size:>10,}  {name}", err=True)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--check", "only_check", is_flag=True, help="Change nothing.")
@click.option("--force", is_flag=True, help="Replace keys and usage that are here.")
@AS_JSON
def restore(*, file: Path, only_check: bool, force: bool, as_json: bool) -> None:
    """Put the backup in FILE back, after every byte of it was checked.

    Keys and usage go where the settings say; settings and engines that differ are told, with what
    to do.
    """
    settings = read_settings(places.without_missing_lists(os.environ))
    with _told():
        contents, files = archive.read(file)
        found = Restore(contents, files, settings, os.environ)
        found.check()
        if only_check:
            _describe(contents, as_json=as_json)
            return
        if (there := found.overwritten()) and not force:
            names = ", ".join(map(str, there))
            raise ArchiveError(f"{names} would be replaced: nothing was done. --force does it")
        sys.exit(tell(found.apply(), as_json=as_json))


def _describe(contents: archive.Contents, *, as_json: bool) -> None:
    sizes = {name: member.bytes for name, member in contents.members.items()}
    if as_json:
        row = {"created": contents.created, "version": contents.version, "members": sizes}
        click.echo(json.dumps(row))
        return
    click.echo(f"Whole; written by {contents.version} at {contents.created}.")
    for name, size in sizes.items():
        click.echo(f"{size:>10,}  {name}")


def _put(path: Path, data: bytes) -> None:
    """The file appears at once and whole, for its owner alone."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def _told() -> Iterator[None]:
    """Failures as a line on standard error and exit code 1."""
    try:
        yield
    except (ArchiveError, DatabaseError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror or error}") from error
