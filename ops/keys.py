"""`ops keys`: make an API key.

Knows: flags and how a new key is shown.
Must not know: how keys are made or checked (`server.access.keys`).
"""

import json
from datetime import date, datetime

import click

from server.access.keys import SCOPES, new_key

EXPIRES = click.DateTime(["%Y-%m-%d"])


@click.group()
def keys() -> None:
    """Make API keys."""


@keys.command()
@click.argument("name")
@click.option("--expires", type=EXPIRES, metavar="YYYY-MM-DD", help="Last good day, in UTC.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(sorted(SCOPES)), help="Allow only this."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def new(*, name: str, expires: datetime | None, scopes: tuple[str, ...], as_json: bool) -> None:
    """Make a key for NAME and print it once, with the record that the server is given.

    The key goes to whoever calls the server. The record holds only a hash: add it to
    SUSSURRO_API_KEYS, or to the file that SUSSURRO_API_KEYS_FILE names.
    """
    last_day: date | None = expires.date() if expires else None
    try:
        made = new_key(name, expires=last_day, scopes=scopes or None)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from error
    if as_json:
        click.echo(json.dumps({"key": made.key, "record": made.record}))
        return
    click.echo(f"Key, shown only now; give it to the client:\n  {made.key}\n")
    click.echo(f"Record, a hash of it; add it to SUSSURRO_API_KEYS:\n  {made.record}")
