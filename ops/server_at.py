"""Which server a command asks, and with which key.

Knows: OpenAI's names in the environment, files of keys.
Must not know: what is asked. A key is never taken from the command line, which everybody on the
machine can read.
"""

import os
from pathlib import Path

import click

DEFAULT = "http://127.0.0.1:9005"

URL = click.option(
    "--url",
    envvar="OPENAI_BASE_URL",
    default=DEFAULT,
    show_default=True,
    help="The server, with or without /v1; else OPENAI_BASE_URL.",
)
KEY_FILE = click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File that holds the API key; else OPENAI_API_KEY.",
)


def read_key(key_file: Path | None) -> str:
    """The key, from the file or from the environment.

    Raises:
        click.UsageError: there is none.
    """
    try:
        key = key_file.read_text(encoding="utf-8") if key_file else os.environ.get("OPENAI_API_KEY")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{key_file} cannot be read: {type(error).__name__}") from error
    if not (key or "").strip():
        raise click.UsageError("no API key: set OPENAI_API_KEY, or name a file with --key-file")
    return str(key).strip()
