"""All who may call, as the settings have them: keys and tokens together.

Knows: which settings make up the callers, and which of a key and a token was presented.
Must not know: how either is checked, HTTP.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TypeVar

from server.access.keys import Keyring
from server.access.records import RecordsError
from server.access.tokens import Tokens, parse_denied, parse_public_keys
from server.settings import Settings
from server.types import Principal

NO_CALLERS = "no API key: run `python -m ops keys new NAME`, put its record in SUSSURRO_API_KEYS"

T = TypeVar("T")


def today() -> date:
    """The date in UTC."""
    return datetime.now(UTC).date()


@dataclass(frozen=True, slots=True)
class Callers:
    """Whoever has a good key or a good token."""

    keyring: Keyring
    tokens: Tokens | None = None

    def __len__(self) -> int:
        return len(self.keyring) + len(self.tokens or ())

    def authenticate(self, credential: str) -> Principal:
        """Who presents this key or token; two dots make a token.

        Raises:
            Unauthenticated: it is not good.
        """
        if self.tokens and credential.count(".") == 2:
            return self.tokens.authenticate(credential)
        return self.keyring.authenticate(credential)

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Callers":
        """The callers that an environment names, directly or in files; blocks.

        Raises:
            SettingsError: a setting is wrong, or a file cannot be read.
            RecordsError: as below.
        """
        return cls.from_settings(Settings.from_env(environ))

    @classmethod
    def from_settings(cls, settings: Settings, today: Callable[[], date] = today) -> "Callers":
        """The callers that the settings name.

        Raises:
            RecordsError: with all that is wrong with any of them.
        """
        problems: list[str] = []
        pepper = settings.key_pepper.get_secret_value() or None
        records = settings.api_keys.get_secret_value()
        keyring = _read(lambda: Keyring.parse(records, today=today, pepper=pepper), problems)
        keys = _read(lambda: parse_public_keys(settings.token_keys.get_secret_value()), problems)
        denied = _read(lambda: parse_denied(settings.denied_tokens.get_secret_value()), problems)
        if keyring is None or keys is None or denied is None:
            raise RecordsError(problems)
        if not keyring and not keys:
            raise RecordsError([NO_CALLERS])
        tokens = Tokens(
            keys,
            issuer=settings.token_issuer,
            audience=settings.token_audience,
            max_lifetime=settings.token_max_lifetime,
            denied=denied,
        )
        return cls(keyring, tokens)


def _read(parse: Callable[[], T], problems: list[str]) -> T | None:
    """What was parsed, or None and its problems."""
    try:
        return parse()
    except RecordsError as error:
        problems.extend(error.problems)
        return None
