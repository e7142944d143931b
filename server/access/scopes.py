"""What a caller may do, by name.

Knows: the scopes, and which of them a key has that names none.
Must not know: where a caller's scopes come from, or which route wants which.
"""

from server import texts
from server.errors import Forbidden
from server.types import Principal

SCOPES = frozenset({"transcribe", "translate", "models", "metrics", "admin"})
"""`metrics` reads the server's figures, `admin` what every caller has used."""

DEFAULT_SCOPES = frozenset({"transcribe", "translate", "models"})
"""Of a key that names none: what OpenAI's clients need, and nothing about other callers."""


def parse_scopes(names: frozenset[str]) -> frozenset[str]:
    """The names as they are, if there are some and all of them exist.

    Raises:
        ValueError: otherwise; the message lists the scopes.
    """
    if not names or names - SCOPES:
        raise ValueError(f"scopes are {', '.join(sorted(SCOPES))}")
    return names


def require(principal: Principal, scope: str) -> None:
    """Refuse a caller that may not do this.

    Raises:
        Forbidden: the scope is missing.
    """
    if scope not in principal.scopes:
        raise Forbidden(texts.NO_SCOPE.filled(scope=scope))
