"""`ops webhooks`: secrets, what was given up, and sending it again.

Knows: flags, how webhooks are shown.
Must not know: how they are signed, kept or sent (`server.webhooks`, `server.jobs`).

Exit codes: 0 done; 1 it could not be done; 2 wrong usage; 78 wrong settings.
"""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import click
from sqlalchemy import Connection

from ops.options import AS_JSON
from ops.settings import read_settings
from server.access.records import NAME
from server.errors import JobsUnavailable
from server.jobs import outbox
from server.jobs.database import Database, DatabaseError
from server.settings import PREFIX
from server.webhooks.events import PREFIX as WHSEC
from server.webhooks.events import parse_secrets, secret_of

T = TypeVar("T")

SECRET_BYTES = 32
MOST_LISTED = 1_000
STATES = ("dead", "pending", "waiting", "delivered")


@click.group()
def webhooks() -> None:
    """Make secrets of webhooks, list those that were not delivered, send them again."""


@webhooks.command()
@AS_JSON
def keygen(*, as_json: bool) -> None:
    """Print a new secret for SUSSURRO_WEBHOOK_SECRET."""
    _show(WHSEC + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode(), as_json=as_json)


@webhooks.command()
@click.argument("name")
@AS_JSON
def secret(*, name: str, as_json: bool) -> None:
    """Print the secret that the caller NAME checks its webhooks with.

    It is made of SUSSURRO_WEBHOOK_SECRET, of the first one if there are two.
    """
    if not NAME.fullmatch(name):
        raise click.BadParameter("is no name of a key", param_hint="NAME")
    try:
        found = parse_secrets(read_settings().webhook_secret.get_secret_value())
    except ValueError as error:
        raise click.ClickException(f"{PREFIX}WEBHOOK_SECRET {error}") from None
    if not found:
        raise click.ClickException(f"{PREFIX}WEBHOOK_SECRET is not set; `keygen` prints one")
    _show(secret_of(found[0], name), as_json=as_json)


@webhooks.command("list")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="Only these; dead ones."
)
@AS_JSON
def list_(*, states: tuple[str, ...], as_json: bool) -> None:
    """Show webhooks, newest first, 1000 at most: those that were given up, or others."""
    found = _in_table(partial(outbox.listed, states=states or ("dead",), limit=MOST_LISTED))
    rows = [_described(row._mapping) for row in found]  # noqa: SLF001 - SQLAlchemy's documented name
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo("  ".join(f"{name}={value}" for name, value in row.items() if value != ""))


@webhooks.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all-dead", is_flag=True, help="All that were given up.")
@AS_JSON
def resend(*, ids: tuple[str, ...], all_dead: bool, as_json: bool) -> None:
    """Have webhooks tried again from the start, under the same ids: these, or all dead ones.

    The servers of the table send them, within seconds. One that was delivered may be named, too.
    """
    if bool(ids) == all_dead:
        raise click.UsageError("Name webhooks by their ids, or say --all-dead.")
    count = _in_table(partial(outbox.resend, ids=ids or None, now=time.time()))
    if as_json:
        click.echo(json.dumps({"resent": count}))
    else:
        click.echo(f"{count} will be sent again")
    if ids and count < len(set(ids)):
        raise click.ClickException(f"{len(set(ids)) - count} of them are not there to be sent")


def _show(made: str, *, as_json: bool) -> None:
    click.echo(json.dumps({"secret": made}) if as_json else made)


def _described(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a mapping of the table's columns
    shown = {name: row[name] for name in ("id", "job_id", "owner", "state", "url", "outcome")}
    at = datetime.fromtimestamp(row["due"] or row["created"], UTC).isoformat(timespec="seconds")
    return shown | {"attempts": row["attempts"], "at": at}


def _in_table(work: Callable[[Connection], T]) -> T:
    """Something in the database of jobs, as the settings name it."""
    settings = read_settings()
    if settings.jobs_dir is None:
        raise click.ClickException(f"{PREFIX}JOBS_DIR is not set: this server keeps no jobs")

    async def run() -> T:
        database = Database(folder, settings.database_url.get_secret_value())
        try:
            return await database.run(work, durable=True)
        finally:
            await database.close()

    folder = settings.jobs_dir.expanduser()
    if not folder.is_dir():
        raise click.ClickException("the folder of jobs is not there")
    try:
        return asyncio.run(run())
    except (DatabaseError, JobsUnavailable) as error:
        raise click.ClickException(f"the table of jobs: {error}") from None
