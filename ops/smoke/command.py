"""`ops smoke`: what to run after each deploy.

Knows: the order of checks, exit codes.
Must not know: how anything is checked.

Exit codes: 0 nothing has failed; 1 something has; 2 wrong usage.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import urllib3

from ops.client import Client, ClientError
from ops.finding import Finding, failed, tell
from ops.options import AS_JSON
from ops.server_at import KEY_FILE, read_key
from ops.smoke import edge, speech

TIMEOUT = urllib3.Timeout(connect=5.0, read=120.0)


@click.command()
@click.argument("url")
@KEY_FILE
@click.option("--model", help="A name of /v1/models  [default: the server's first]")
@click.option(
    "--max-wer",
    type=click.FloatRange(0.0, 1.0),
    default=0.2,
    show_default=True,
    help="Largest share of wrong words in a sample.",
)
@AS_JSON
def smoke(*, url: str, key_file: Path | None, model: str, max_wer: float, as_json: bool) -> None:
    """Ask the server at URL for everything that its callers need, and say what to do otherwise."""
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("begin with https:// or http://", param_hint="URL")
    client = Client(url, read_key(key_file), TIMEOUT)
    code = tell(checks(client, model or "whisper-1", max_wer), as_json=as_json)
    client.close()
    sys.exit(code)


def checks(client: Client, model: str, max_wer: float) -> Iterator[Finding]:
    """All of them; none of those that could only repeat a failure before them."""
    try:
        yield from edge.outside(client)
        yield from speech.spoken(client, model, max_wer)
    except edge.Useless as error:
        yield error.finding
    except ClientError as error:
        yield failed("connection", str(error), "ask again; if it stays so, look at the log")
