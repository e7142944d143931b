"""Short-lived tokens: JWTs that the operator signs, and the server can only check.

Knows: public keys, the claims that a token must have, PyJWT.
Must not know: private keys, HTTP. Of a token only its `sub` and `jti` are ever logged.

A token is signed with Ed25519 (`alg` EdDSA) and names its key (`kid`). `scope` is a list separated
by spaces (RFC 8693), `limits` an object as in a key's record. Everything else is refused.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from server import texts
from server.access.records import NAME, RecordsError, parse_limits, words_of
from server.access.scopes import parse_scopes
from server.errors import Unauthenticated
from server.types import Principal

ALGORITHM = "EdDSA"
REQUIRED = ("iss", "aud", "sub", "iat", "exp", "jti", "scope")
LEEWAY_SECONDS = 5
"""By which two clocks may differ."""

MAX_TOKEN_CHARS = 4096
JTI = re.compile(r"[A-Za-z0-9_-]{1,64}")

REASONS: Mapping[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "token_expired",
    jwt.ImmatureSignatureError: "token_not_yet_valid",
    jwt.InvalidAudienceError: "token_audience",
    jwt.InvalidIssuerError: "token_issuer",
    jwt.MissingRequiredClaimError: "token_claim_missing",
    jwt.InvalidSignatureError: "token_signature",
    jwt.InvalidAlgorithmError: "token_algorithm",
}
"""For the log; whatever is not here is `token_malformed`."""


class Tokens:
    """Checks tokens against public keys; each bad one gets the same answer."""

    def __init__(
        self,
        keys: Mapping[str, Ed25519PublicKey],
        *,
        issuer: str,
        audience: str,
        max_lifetime: float,
        denied: frozenset[str] = frozenset(),
    ) -> None:
        """`denied` are `jti` that are refused though they are good; `max_lifetime` in seconds."""
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._max_lifetime = max_lifetime
        self._denied = denied

    def __len__(self) -> int:
        return len(self._keys)

    def authenticate(self, token: str) -> Principal:
        """Who presents this token.

        Raises:
            Unauthenticated: whatever is wrong with it; only the `reason`, for the log, says what.
        """
        try:
            claims = self._verified(token)
            return self._principal(claims)
        except jwt.PyJWTError as error:
            reason = REASONS.get(type(error), "token_malformed")
        except (ValueError, TypeError, OverflowError, RecursionError):
            reason = "token_claim_wrong"
        except _RefusedError as error:
            reason = str(error)
        raise Unauthenticated(texts.WRONG_KEY, reason=reason)

    def _verified(self, token: str) -> dict[str, Any]:
        """The claims, once the signature is known to be good."""
        if len(token) > MAX_TOKEN_CHARS:
            raise _RefusedError("token_malformed")
        header = jwt.get_unverified_header(token)
        if header.get("alg") != ALGORITHM:
            raise _RefusedError("token_algorithm")
        key = self._keys.get(header.get("kid", ""))
        if key is None:
            raise _RefusedError("token_key_unknown")
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=self._issuer,
            audience=self._audience,
            leeway=LEEWAY_SECONDS,
            options={"require": list(REQUIRED), "strict_aud": True},
        )
        return claims

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        """What a genuine token grants; ValueError if a claim makes no sense."""
        issued, expires, jti, name = (claims[claim] for claim in ("iat", "exp", "jti", "sub"))
        if type(issued) is not int or type(expires) is not int:
            raise ValueError("iat and exp are whole numbers")
        if not 0 < expires - issued <= self._max_lifetime:
            raise _RefusedError("token_lifetime")
        if not JTI.fullmatch(jti) or not NAME.fullmatch(name):
            raise ValueError("jti and sub are names")
        if jti in self._denied:
            raise _RefusedError("token_denied")
        scope, limits = claims["scope"], claims.get("limits", {})
        if type(scope) is not str or type(limits) is not dict:
            raise ValueError("scope is a text, limits an object")
        scopes = parse_scopes(frozenset(scope.split(" ")) - {""})
        return Principal(f"{name}/{jti}", name, scopes, parse_limits(limits))


class _RefusedError(Exception):
    """Carries a reason for the log."""


def public_text(kid: str, key: Ed25519PublicKey) -> str:
    """The word that the server is given for a key: `kid:ed25519:<base64url>`."""
    return f"{kid}:ed25519:{base64.urlsafe_b64encode(key.public_bytes_raw()).decode().rstrip('=')}"


def parse_public_keys(text: str) -> dict[str, Ed25519PublicKey]:
    """Public keys by kid, separated by white space; `#` starts a comment.

    Raises:
        RecordsError: with every problem at once.
    """
    problems: list[str] = []
    keys: dict[str, Ed25519PublicKey] = {}
    for number, word in enumerate(words_of(text), start=1):
        kid, _, rest = word.partition(":")
        algorithm, _, encoded = rest.partition(":")
        try:
            raw = base64.b64decode(encoded + "=", altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if not NAME.fullmatch(kid) or algorithm != "ed25519" or len(raw) != 32:
            problems.append(
                f"token key {number}: is not kid:ed25519:<43 base64url characters>; "
                "`ops tokens keygen` prints a good one"
            )
        elif kid in keys:
            problems.append(f"token key {number}: the kid {kid} is there twice")
        else:
            keys[kid] = Ed25519PublicKey.from_public_bytes(raw)
    if problems:
        raise RecordsError(problems)
    return keys


def parse_denied(text: str) -> frozenset[str]:
    """`jti` separated by white space; `#` starts a comment.

    Raises:
        RecordsError: with every word that is none.
    """
    words = words_of(text)
    problems = [
        f"denied token {number}: a jti is 1 to 64 of A-Z, a-z, 0-9, _ and -"
        for number, word in enumerate(words, start=1)
        if not JTI.fullmatch(word)
    ]
    if problems:
        raise RecordsError(problems)
    return frozenset(words)
