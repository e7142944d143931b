"""`ops serve`: the server on this machine, with weights and a key, from nothing.

Knows: where the first key's record is kept, and what to paste into a terminal.
Must not know: how the server works; it becomes the server at the end.
"""

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

import click

from ops.records import OWN as RECORDS
from ops.settings import read_settings
from ops.weights.command import get_models
from server.access.keys import new_key

ROOT = Path(__file__).resolve().parent.parent
KID = "local"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command()
def serve() -> None:
    """Start the server here; on first use make a key and print it once.

    The key's record, a hash, is kept in .state/api_keys. Settings in the environment win.
    """
    get_models()
    environ = dict(os.environ)
    if "SUSSURRO_API_KEYS" not in environ and "SUSSURRO_API_KEYS_FILE" not in environ:
        key = _first_key(RECORDS)
        environ["SUSSURRO_API_KEYS_FILE"] = str(RECORDS)
        if key is not None:
            click.echo(_welcome(key, read_settings().port), err=True)
    environ.setdefault("SUSSURRO_USAGE_DB", str(RECORDS.with_name("usage.sqlite3")))
    environ.setdefault("SUSSURRO_JOBS_DIR", str(RECORDS.with_name("jobs")))
    RECORDS.parent.mkdir(mode=0o700, exist_ok=True)
    _sandbox_for(environ)
    sys.stdout.flush()
    os.chdir(ROOT)
    os.execve(sys.executable, [sys.executable, "-m", "server"], environ)  # noqa: S606  no shell wanted


def _sandbox_for(environ: MutableMapping[str, str]) -> None:
    """Only this machine can reach a loopback server, so a kernel without a layer may serve it."""
    if read_settings().host in LOOPBACK:
        environ.setdefault("SUSSURRO_SANDBOX", "available")


def _first_key(records: Path) -> str | None:
    """A new key whose record is written to `records`; None if there already is one.

    The record is on disk before anybody sees the key, and only its owner can read it.
    """
    records.parent.mkdir(mode=0o700, exist_ok=True)
    made = new_key(KID)
    try:
        descriptor = os.open(records, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return None
    with os.fdopen(descriptor, "w") as out:
        out.write(f"# Hashes of API keys; `./just key NAME` prints another one.\n{made.record}\n")
    return made.key


def _welcome(key: str, port: int) -> str:
    return f"""
Your API key, shown only this once (its hash is kept in {RECORDS}):

    {key}

Try it in another terminal:

    curl http://127.0.0.1:{port}/v1/audio/transcriptions \\
      -H "Authorization: Bearer {key}" \\
      -F model=whisper-1 -F file=@{ROOT / "ops" / "samples" / "portuguese.ogg"}

Lost it? Delete {RECORDS} and start again.
"""
