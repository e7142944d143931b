"""API keys: `wsk_<kid>_<secret>_<checksum>` for the caller, a hash of it for the server.

Knows: the forms of keys and records, scopes, expiry, comparison in constant time.
Must not know: HTTP. The key itself is never kept or logged; only its `kid` is.

A record is `kid:sha256:<hex>[:scopes[:expiry]]`: scopes separated by commas (empty: all of them),
expiry a date in UTC, whose day is the last good one. Two keys of one caller are two kids.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date

from server import texts
from server.errors import Forbidden, Unauthenticated
from server.types import Principal

SCOPES = frozenset({"transcribe", "translate", "models"})
"""What a key may be good for; a record without scopes has all of them."""

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
SECRET_CHARS = 43
"""62 ** 43 is just above 2 ** 256."""

CHECKSUM_CHARS = 6
"""62 ** 6 is just above 2 ** 32, the range of CRC-32."""

KID = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_KEY = re.compile(rf"wsk_({KID.pattern})_[0-9A-Za-z]{{{SECRET_CHARS}}}_[0-9A-Za-z]{{6}}")
_HASH = re.compile(r"[0-9a-f]{64}")
_NOBODY = "0" * 64
"""Compared against when the kid is unknown, so that the time taken does not tell."""


class KeyringError(Exception):
    """Some records are wrong; `problems` lists all of them, without repeating what they hold."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the problems for whoever prints them."""
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Record:
    """What the server keeps of a key; `expires` is the last good day in UTC."""

    kid: str
    digest: str
    scopes: frozenset[str] = SCOPES
    expires: date | None = None

    def __str__(self) -> str:
        """The record's text: optional parts only where they say something."""
        scopes = "" if self.scopes == SCOPES else ",".join(sorted(self.scopes))
        expires = "" if self.expires is None else self.expires.isoformat()
        return f"{self.kid}:sha256:{self.digest}:{scopes}:{expires}".rstrip(":")


@dataclass(frozen=True, slots=True, repr=False)
class NewKey:
    """A fresh key, shown once to its owner, and the record that the server is given."""

    key: str
    record: str


def new_key(
    kid: str, *, expires: date | None = None, scopes: Iterable[str] | None = None
) -> NewKey:
    """A key of 256 random bits.

    Raises:
        ValueError: the kid or a scope is not allowed.
    """
    granted = SCOPES if scopes is None else frozenset(scopes)
    if not KID.fullmatch(kid):
        raise ValueError("a kid is 1 to 32 of a-z, 0-9 and -, and does not start with -")
    if not granted or granted - SCOPES:
        raise ValueError(f"scopes are {', '.join(sorted(SCOPES))}")
    secret = "".join(secrets.choice(BASE62) for _ in range(SECRET_CHARS))
    body = f"wsk_{kid}_{secret}"
    key = f"{body}_{_checksum(body)}"
    return NewKey(key, str(Record(kid, _digest(key), granted, expires)))


def kid_of(key: str) -> str | None:
    """The kid of a well-formed key with a good checksum, else None. Says nothing of its truth."""
    match = _KEY.fullmatch(key)
    if match is None or _checksum(key[: -CHECKSUM_CHARS - 1]) != key[-CHECKSUM_CHARS:]:
        return None
    return match[1]


class Keyring:
    """All keys that the server takes."""

    def __init__(self, records: Iterable[Record], *, today: Callable[[], date]) -> None:
        """Index the records by kid; `today` is the date in UTC."""
        self._records = {record.kid: record for record in records}
        self._today = today

    def __len__(self) -> int:
        return len(self._records)

    @classmethod
    def parse(cls, text: str, *, today: Callable[[], date]) -> "Keyring":
        """Read records separated by white space; `#` starts a comment.

        Raises:
            KeyringError: with every problem at once.
        """
        problems: list[str] = []
        records: dict[str, Record] = {}
        words = " ".join(line.partition("#")[0] for line in text.splitlines()).split()
        for number, word in enumerate(words, start=1):
            try:
                record = _parse(word)
            except ValueError as error:
                problems.append(f"key record {number}: {error}")
                continue
            if record.kid in records:
                problems.append(f"key record {number}: the kid {record.kid} is there twice")
            records[record.kid] = record
        if problems:
            raise KeyringError(problems)
        return cls(records.values(), today=today)

    def authenticate(self, key: str) -> Principal:
        """Who presents this key.

        Raises:
            Unauthenticated: malformed, unknown or expired; the message never says which.
        """
        record = self._records.get(kid_of(key) or "")
        expected = record.digest if record else _NOBODY
        same = hmac.compare_digest(_digest(key), expected)
        if record is None or not same or (record.expires and self._today() > record.expires):
            raise Unauthenticated(texts.WRONG_KEY)
        return Principal(record.kid, record.scopes)


def require(principal: Principal, scope: str) -> None:
    """Refuse a caller whose key is not good for this.

    Raises:
        Forbidden: the scope is missing.
    """
    if scope not in principal.scopes:
        raise Forbidden(texts.NO_SCOPE.filled(scope=scope))


def _parse(word: str) -> Record:
    """One record from its text; raises ValueError without repeating it."""
    kid, algorithm, digest, scopes, expires, *rest = [*word.split(":"), "", "", "", ""][
        : max(5, word.count(":") + 1)
    ]
    if rest:
        raise ValueError("has more parts than kid:sha256:hash:scopes:expiry")
    if not KID.fullmatch(kid):
        raise ValueError("the kid is not 1 to 32 of a-z, 0-9 and -")
    if algorithm != "sha256" or not _HASH.fullmatch(digest):
        raise ValueError("is not kid:sha256:<64 hex digits>; `ops keys new` prints a good one")
    granted = frozenset(filter(None, scopes.split(","))) or SCOPES
    if granted - SCOPES:
        raise ValueError(f"scopes are {', '.join(sorted(SCOPES))}")
    try:
        last_day = date.fromisoformat(expires) if expires else None
    except ValueError:
        raise ValueError("the expiry is not a date such as 2027-12-31") from None
    return Record(kid, digest, granted, last_day)


def _digest(key: str) -> str:
    """SHA-256 in hex. A secret of 256 random bits needs no slow hash."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _checksum(body: str) -> str:
    """CRC-32 in base 62: a typo is noticed without the server, and scanners find leaked keys."""
    number = zlib.crc32(body.encode("ascii"))
    digits = []
    for _ in range(CHECKSUM_CHARS):
        number, digit = divmod(number, len(BASE62))
        digits.append(BASE62[digit])
    return "".join(reversed(digits))
