"""Where what is backed up lies on this machine.

Knows: settings, their files, and what `ops serve` uses where they say nothing.
Must not know: archives.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from ops.engines.builds import Builds, models
from ops.records import OWN
from server.engines.choice import ENGINES
from server.settings import PREFIX, SECRETS, Settings

LISTS = ("api_keys", "token_keys", "denied_tokens")
"""Secrets that are kept: hashes of keys, public keys, ids of tokens. The pepper and Redis' address,
which may hold a password, are not.
"""


def open_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """What is set and no secret."""
    secret = {PREFIX + name.upper() for name in SECRETS}
    return {
        name: value
        for name, value in sorted(environ.items())
        if name.startswith(PREFIX) and name not in secret
    }


def list_text(name: str, settings: Settings, environ: Mapping[str, str]) -> str:
    """A list as the server reads it; the keys of `ops serve` where no others are set."""
    text: str = getattr(settings, name).get_secret_value()
    if not text and (own := list_file(name, environ)) == OWN and OWN.is_file():
        return own.read_text(encoding="utf-8")
    return text


def list_file(name: str, environ: Mapping[str, str]) -> Path | None:
    """The file that a list is read from; None where the environment itself has it, or nothing."""
    variable = PREFIX + name.upper()
    if file := environ.get(f"{variable}_FILE"):
        return Path(file)
    return OWN if name == "api_keys" and not environ.get(variable) else None


def without_missing_lists(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without files of lists that are not there: a restore makes them."""
    names = {f"{PREFIX}{name.upper()}_FILE" for name in LISTS}
    return {k: v for k, v in environ.items() if k not in names or Path(v).exists()}


def usage_file(settings: Settings) -> Path | None:
    """The usage database; that of `ops serve` where none is set and that is there."""
    own = OWN.with_name("usage.sqlite3")
    if settings.usage_db:
        return Path(settings.usage_db)
    return own if own.is_file() or OWN.is_file() else None


def all_builds(settings: Settings) -> Iterator[Builds]:
    """Every model that has builds here."""
    root = settings.engines_dir.expanduser()
    for engine in ENGINES:
        for model in models(root, engine):
            yield Builds(root, engine, model)
