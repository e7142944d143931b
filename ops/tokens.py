"""`ops tokens`: keys to sign with, tokens, and what is in one.

Knows: private keys and their files, which claims a token is given.
Must not know: how the server checks a token (`server.access.tokens`).
"""

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import click
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ops.options import AS_JSON
from ops.records import read_secret
from ops.settings import read_settings
from server.access.callers import Callers
from server.access.records import LIMITS, NAME, RecordsError, limits_of
from server.access.scopes import DEFAULT_SCOPES, SCOPES
from server.access.tokens import ALGORITHM, Tokens, public_text
from server.errors import Unauthenticated

KEY_FILE = click.option(
    "--key",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The file of the private key.",
)


@click.group()
def tokens() -> None:
    """Make keys to sign tokens with, sign tokens, and look into them."""


@tokens.command()
@click.argument("kid")
@KEY_FILE
@AS_JSON
def keygen(*, kid: str, path: Path, as_json: bool) -> None:
    """Make a private key named KID in a new file, and print the public key for the server.

    The private key stays with whoever mints; the server never needs it. Its PEM file begins with
    a line that holds the KID.
    """
    if not NAME.fullmatch(kid):
        raise click.BadParameter(
            "a kid is 1 to 32 of a-z, 0-9 and -, and does not start with -", param_hint="KID"
        )
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be made: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as out:
        out.write(f"kid: {kid}\n".encode() + pem)
    public = public_text(kid, private.public_key())
    if as_json:
        click.echo(json.dumps({"private_key": str(path), "public_key": public}))
        return
    click.echo(f"Private key: {path}. Keep it away from the server.\n")
    click.echo("Public key; add it to SUSSURRO_TOKEN_KEYS:")
    click.echo(f"  {public}")


@tokens.command()
@click.argument("name")
@KEY_FILE
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(sorted(SCOPES)), help="Allow only this."
)
@click.option(
    "--limit", "limits", multiple=True, metavar="NAME=NUMBER", help=f"One of {', '.join(LIMITS)}."
)
@click.option(
    "--lifetime",
    type=click.IntRange(1, 86_400),
    help="Seconds. Default: as many as the server allows.",
)
@AS_JSON
def mint(  # noqa: PLR0913 - one a flag
    *,
    name: str,
    path: Path,
    scopes: tuple[str, ...],
    limits: tuple[str, ...],
    lifetime: int | None,
    as_json: bool,
) -> None:
    """Sign a token for NAME and print it. Issuer, audience and lifetime are the settings'."""
    settings = read_settings()
    longest = int(settings.token_max_lifetime)
    if (lifetime or 0) > longest:
        raise click.BadParameter(f"the server allows {longest} s", param_hint="--lifetime")
    if not NAME.fullmatch(name):
        raise click.BadParameter("a name is 1 to 32 of a-z, 0-9 and -", param_hint="NAME")
    kid, private = _private_key(path)
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": settings.token_issuer,
        "aud": settings.token_audience,
        "sub": name,
        "jti": uuid.uuid4().hex,
        "iat": now,
        "exp": now + (lifetime or longest),
        "scope": " ".join(sorted(scopes or DEFAULT_SCOPES)),
    }
    if limits:
        claims["limits"] = _limits(limits)
    token = jwt.encode(claims, private, algorithm=ALGORITHM, headers={"kid": kid})
    click.echo(json.dumps({"token": token, "claims": claims}) if as_json else token)


@tokens.command()
@AS_JSON
def inspect(*, as_json: bool) -> None:
    """Show what a token says, and whether the server would take it.

    It is asked for, or read from standard input.

    Exit code 1 if it would not, by the settings in the environment.
    """
    token = read_secret("Token")
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError as error:
        raise click.ClickException("This is no token.") from error
    click.echo(json.dumps({"header": header, "claims": claims}, indent=None if as_json else 2))
    if not as_json and isinstance(expires := claims.get("exp"), int):
        click.echo(f"Expires in {expires - int(time.time())} s.")
    try:
        _server_tokens().authenticate(token)
    except Unauthenticated as error:
        raise click.ClickException(f"The server would refuse it: {error.reason}.") from error
    if not as_json:
        click.echo("The server would take it.")


def _server_tokens() -> Tokens:
    """The server's check, by the settings in the environment."""
    try:
        checker = Callers.from_settings(read_settings()).tokens
    except RecordsError as error:
        raise click.ClickException("\n".join(error.problems)) from error
    assert checker is not None
    return checker


def _limits(words: tuple[str, ...]) -> dict[str, int]:
    try:
        limits = limits_of(words)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--limit") from error
    named = ((name, getattr(limits, name)) for name in LIMITS)
    return {name: value for name, value in named if value is not None}


def _private_key(path: Path) -> tuple[str, Ed25519PrivateKey]:
    """The KID in the file's first line, and the key after it."""
    try:
        first, _, pem = path.read_bytes().partition(b"\n")
        key = serialization.load_pem_private_key(pem, password=None)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise click.ClickException(f"{path} holds no key of `ops tokens keygen`.") from error
    kid = first.decode("ascii", "replace").removeprefix("kid: ")
    if not isinstance(key, Ed25519PrivateKey) or not NAME.fullmatch(kid):
        raise click.ClickException(f"{path} holds no key of `ops tokens keygen`.")
    return kid, key
