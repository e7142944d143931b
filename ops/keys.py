"""`ops keys`: make, list, check, replace and end API keys.

Knows: flags, how keys and records are shown, how long two keys of a name overlap.
Must not know: how keys are made or checked (`server.access`), how their file is kept.
"""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click

from ops import records
from ops.options import AS_JSON
from ops.records import FILE, read_secret
from server.access.keys import Keyring, NewKey, key_for, kid_of, new_key
from server.access.records import KID, LIMITS, Record, limits_text
from server.access.scopes import SCOPES
from server.errors import Unauthenticated

EXPIRES = click.DateTime(["%Y-%m-%d"])
RELOAD = "A server that reads this file takes it over on SIGHUP."


@click.group()
def keys() -> None:
    """Make, list, check, rotate and revoke API keys."""


@keys.command()
@click.argument("name")
@click.option("--expires", type=EXPIRES, metavar="YYYY-MM-DD", help="Last good day, in UTC.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(sorted(SCOPES)), help="Allow only this."
)
@click.option(
    "--limit", "limits", multiple=True, metavar="NAME=NUMBER", help=f"One of {', '.join(LIMITS)}."
)
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Add the record to this file; it is made if there is none.",
)
@AS_JSON
def new(  # noqa: PLR0913 - one a flag
    *,
    name: str,
    expires: datetime | None,
    scopes: tuple[str, ...],
    limits: tuple[str, ...],
    path: Path | None,
    as_json: bool,
) -> None:
    """Make a key for NAME and print it once, with the record that the server is given.

    The key goes to whoever calls the server. The record holds only a hash: add it to
    SUSSURRO_API_KEYS, or to the file that SUSSURRO_API_KEYS_FILE names. With a pepper in
    SUSSURRO_KEY_PEPPER the hash is an HMAC.
    """
    last_day: date | None = expires.date() if expires else None
    try:
        made = new_key(
            name,
            expires=last_day,
            scopes=scopes or None,
            limits=limits,
            pepper=records.pepper(),
        )
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME, --limit") from error
    if path is not None:
        records.append(path, made.record)
    _show(made, path, as_json=as_json)


@keys.command("list")
@FILE
@AS_JSON
def list_(*, path: Path | None, as_json: bool) -> None:
    """Show every key that the server is given: scopes, limits, whether it still works."""
    rows = [_described(record) for record in records.known_records(path)]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo("  ".join(f"{name}={value}" for name, value in row.items() if value))


@keys.command()
@FILE
@AS_JSON
def check(*, path: Path | None, as_json: bool) -> None:
    """Say whether the server would take a key. It is asked for, or read from standard input.

    Exit code 1 if it would not.
    """
    key = read_secret("Key")
    kid = kid_of(key)
    if kid is None:
        raise click.ClickException("This is no key, or it has a typo: the checksum is wrong.")
    ring = Keyring(records.known_records(path), today=_today, pepper=records.pepper())
    try:
        caller = ring.authenticate(key)
    except Unauthenticated as error:
        why = "has expired" if error.reason == "key_expired" else "is not among the records"
        raise click.ClickException(f"{kid} is well-formed, but {why}.") from error
    if as_json:
        row = {"kid": kid, "scopes": sorted(caller.scopes), "limits": limits_text(caller.limits)}
        click.echo(json.dumps(row))
        return
    click.echo(f"{kid} is good for: {', '.join(sorted(caller.scopes))}")
    if limits := limits_text(caller.limits):
        click.echo(f"Its own limits: {limits}")


@keys.command()
@click.argument("name")
@FILE
@click.option(
    "--overlap-days",
    type=click.IntRange(0, 3650),
    default=7,
    show_default=True,
    help="Days on which the old key still works.",
)
@AS_JSON
def rotate(*, name: str, path: Path | None, overlap_days: int, as_json: bool) -> None:
    """Make another key for NAME with the same scopes and limits, and let the old one end soon.

    Both are one caller: they share limits and usage.
    """
    file = records.records_file(path)
    live = [r for r in records.known_records(file) if r.name == name and not _expired(r)]
    if not live:
        raise click.ClickException(f"No key of {name} works at present; make one with `new`.")
    if len(live) > 1:
        kids = " and ".join(record.kid for record in live)
        raise click.ClickException(f"{kids} both work; revoke one of them first.")
    (old,) = live
    last_day = _today() + timedelta(days=overlap_days)
    ending = replace(old, expires=min(old.expires or last_day, last_day))
    made = key_for(replace(old, kid=_next_kid(old.kid), expires=None), records.pepper())
    records.change(
        file,
        lambda word: f"{ending}\n{made.record}" if _kid(word) == old.kid else word,
    )
    _show(made, file, as_json=as_json)
    if not as_json:
        click.echo(f"{old.kid} works until {ending.expires} (UTC).")


@keys.command()
@click.argument("kid")
@FILE
@AS_JSON
def revoke(*, kid: str, path: Path | None, as_json: bool) -> None:
    """Remove the record of a key, by its KID as `list` shows it."""
    file = records.records_file(path)
    if kid not in {record.kid for record in records.known_records(file)}:
        raise click.ClickException(f"There is no key {kid} in {file}.")
    records.change(file, lambda word: None if _kid(word) == kid else word)
    row = {"revoked": kid, "file": str(file)}
    click.echo(json.dumps(row) if as_json else f"{kid} is gone. {RELOAD}")


def _show(made: NewKey, path: Path | None, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"key": made.key, "record": made.record}))
        return
    click.echo(f"Key, shown only now; give it to the client:\n  {made.key}\n")
    if path is None:
        click.echo(f"Record, a hash of it; add it to SUSSURRO_API_KEYS:\n  {made.record}")
    else:
        click.echo(f"Its record is in {path}. {RELOAD}")


def _described(record: Record) -> dict[str, str]:
    return {
        "kid": record.kid,
        "state": "expired" if _expired(record) else "works",
        "expires": record.expires.isoformat() if record.expires else "",
        "scopes": ",".join(sorted(record.scopes)),
        "limits": limits_text(record.limits),
        "hash": "hmac-sha256" if record.peppered else "sha256",
    }


def _next_kid(kid: str) -> str:
    name, _, number = kid.partition("_")
    following = f"{name}_{int(number or 1) + 1}"
    assert KID.fullmatch(following), "This is a bug: a kid has room for 9999 keys of a name."
    return following


def _kid(word: str) -> str:
    return word.partition(":")[0]


def _expired(record: Record) -> bool:
    return record.expires is not None and _today() > record.expires


def _today() -> date:
    return datetime.now(UTC).date()
