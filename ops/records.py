"""The file of key records that the server is given: found, read, changed in one step.

Knows: where the file is, how it is replaced as a whole, comments in it.
Must not know: what a record holds (`server.access.records`).
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from ops.settings import read_settings
from server.access.records import Record, RecordsError, parse_records

ROOT = Path(__file__).resolve().parent.parent
OWN = ROOT / ".state" / "api_keys"
"""Where `ops serve` keeps the records."""

FILE = click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of records. Default: SUSSURRO_API_KEYS_FILE, or .state/api_keys.",
)


def records_file(path: Path | None) -> Path:
    """The file that a command works on."""
    return path or Path(os.environ.get("SUSSURRO_API_KEYS_FILE", OWN))


def known_records(path: Path | None) -> tuple[Record, ...]:
    """What the server is given: the records in the environment, or those in the file.

    Raises:
        click.ClickException: they cannot be read, or some are wrong.
    """
    if path is None and os.environ.get("SUSSURRO_API_KEYS"):
        return _parsed(os.environ["SUSSURRO_API_KEYS"])
    return _parsed(_text(records_file(path)))


def change(path: Path, edit: Callable[[str], str | None]) -> None:
    """Rewrite the records one by one; None drops one. Comments and all else stay as they are.

    Raises:
        click.ClickException: the file cannot be read or replaced, or a record is wrong.
    """
    text = _text(path)
    _parsed(text)
    replace(path, "".join(_edited(line, edit) for line in text.splitlines(keepends=True)))


def append(path: Path, record: str) -> None:
    """Add a record, and make the file if there is none.

    Raises:
        click.ClickException: the file cannot be read or replaced, or a record is wrong.
    """
    text = _text(path) if path.exists() else ""
    if text and not text.endswith("\n"):
        text += "\n"
    _parsed(text + record)
    replace(path, f"{text}{record}\n")


def replace(path: Path, text: str) -> None:
    """Put another file in its place at once: the server reads the old one or the new one.

    Raises:
        click.ClickException: it cannot be written there.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        before = path.stat() if path.exists() else None
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            if before is not None:  # the server may be another user
                os.fchown(out.fileno(), before.st_uid, before.st_gid)
                os.fchmod(out.fileno(), before.st_mode & 0o777)
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise click.ClickException(f"{path} cannot be replaced: {error.strerror}") from error


def pepper() -> str | None:
    """The server's pepper, where it is set."""
    return read_settings().key_pepper.get_secret_value() or None


def _edited(line: str, edit: Callable[[str], str | None]) -> str:
    code, hash_sign, comment = line.partition("#")
    words = code.split()
    kept = [new for word in words if (new := edit(word)) is not None]
    if kept == words:
        return line
    if not kept and not hash_sign:
        return ""
    return (
        " ".join(kept) + (" " if kept and hash_sign else "") + hash_sign + comment.rstrip() + "\n"
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        kind = getattr(error, "strerror", None) or type(error).__name__
        raise click.ClickException(f"{path} cannot be read: {kind}") from error


def _parsed(text: str) -> tuple[Record, ...]:
    try:
        return parse_records(text)
    except RecordsError as error:
        raise click.ClickException("\n".join(error.problems)) from error


def read_secret(what: str) -> str:
    """A key or token that nobody else shall see: not from the command line, not echoed."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True)).strip()
    return sys.stdin.read().strip()
