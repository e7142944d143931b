"""What the server is given of a key: one word of text, with a hash in place of the key.

Knows: the form of a record, its parts, the two hashes.
Must not know: keys' own form, who presents one, HTTP.

A record is `kid:algorithm:<hex>[:scopes[:expiry[:limits]]]`. The kid is a name, or a name, `_` and
a number from 2 on: keys of one name are one caller. `algorithm` is `sha256`, or `hmac-sha256` with
the server's pepper. Scopes and limits are separated by commas, a limit is `name=number`; the expiry
is a date in UTC, the last good day.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date

from server.access.scopes import DEFAULT_SCOPES, parse_scopes
from server.types import KeyLimits

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
KID = re.compile(rf"{NAME.pattern}(?:_[2-9]|_[1-9][0-9]{{1,3}})?")
LIMITS = tuple(field.name for field in fields(KeyLimits))
MAX_LIMIT = 10_000_000
NO_LIMITS = KeyLimits()
"""None of a key's own: the server's defaults hold."""

_HASH = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[0-9]{1,8}")


class RecordsError(Exception):
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
    scopes: frozenset[str] = DEFAULT_SCOPES
    expires: date | None = None
    limits: KeyLimits = NO_LIMITS
    peppered: bool = False

    @property
    def name(self) -> str:
        """Whose key it is; keys that replace one another share it."""
        return self.kid.partition("_")[0]

    def __str__(self) -> str:
        """The record's text: optional parts only where they say something."""
        algorithm = "hmac-sha256" if self.peppered else "sha256"
        scopes = "" if self.scopes == DEFAULT_SCOPES else ",".join(sorted(self.scopes))
        expires = "" if self.expires is None else self.expires.isoformat()
        parts = (self.kid, algorithm, self.digest, scopes, expires, limits_text(self.limits))
        return ":".join(parts).rstrip(":")


def digest(key: str, pepper: str | None) -> str:
    """SHA-256 of a key in hex, or its HMAC with a pepper.

    A secret of 256 random bits needs no slow hash.
    """
    data = key.encode("utf-8", "surrogateescape")
    if pepper is None:
        return hashlib.sha256(data).hexdigest()
    return hmac.new(pepper.encode(), data, hashlib.sha256).hexdigest()


def parse_limits(values: Mapping[str, object]) -> KeyLimits:
    """Limits by name; None where the server's default holds, 0 for none.

    Raises:
        ValueError: an unknown name, or no whole number from 0 to `MAX_LIMIT`.
    """
    if set(values) - set(LIMITS):
        raise ValueError(f"limits are {', '.join(LIMITS)}")
    found: dict[str, int] = {}
    for name, value in values.items():
        if type(value) is not int or not 0 <= value <= MAX_LIMIT:
            raise ValueError(f"{name} is not a whole number from 0 to {MAX_LIMIT}")
        found[name] = value
    return KeyLimits(**found)


def limits_of(words: Iterable[str]) -> KeyLimits:
    """Limits from words such as `requests_per_minute=60`.

    Raises:
        ValueError: a word is no limit, or a limit is there twice.
    """
    found: dict[str, object] = {}
    for word in words:
        name, _, number = word.partition("=")
        if name in found:
            raise ValueError("a limit is there twice")
        found[name] = int(number) if _NUMBER.fullmatch(number) else number
    return parse_limits(found)


def limits_text(limits: KeyLimits) -> str:
    """The limits that are set, as in a record."""
    named = ((name, getattr(limits, name)) for name in LIMITS)
    return ",".join(f"{name}={value}" for name, value in named if value is not None)


def parse_records(text: str) -> tuple[Record, ...]:
    """Records separated by white space; `#` starts a comment.

    Raises:
        RecordsError: with every problem at once.
    """
    problems: list[str] = []
    records: dict[str, Record] = {}
    for number, word in enumerate(words_of(text), start=1):
        try:
            record = parse_record(word)
        except ValueError as error:
            problems.append(f"key record {number}: {error}")
            continue
        if record.kid in records:
            problems.append(f"key record {number}: the kid {record.kid} is there twice")
        records[record.kid] = record
    if problems:
        raise RecordsError(problems)
    return tuple(records.values())


def words_of(text: str) -> list[str]:
    """The words of a list in a setting or its file, without comments."""
    return " ".join(line.partition("#")[0] for line in text.splitlines()).split()


def parse_record(word: str) -> Record:
    """One record from its text.

    Raises:
        ValueError: without repeating the text.
    """
    parts = word.split(":")
    if len(parts) > 6:
        raise ValueError("has more parts than kid:sha256:hash:scopes:expiry:limits")
    kid, algorithm, hashed, scopes, expires, limits = [*parts, "", "", "", "", ""][:6]
    if not KID.fullmatch(kid):
        raise ValueError("the kid is not 1 to 32 of a-z, 0-9 and -, or that with _2, _3 …")
    if algorithm not in ("sha256", "hmac-sha256") or not _HASH.fullmatch(hashed):
        raise ValueError("is not kid:sha256:<64 hex digits>; `ops keys new` prints a good one")
    granted = frozenset(filter(None, scopes.split(",")))
    try:
        last_day = date.fromisoformat(expires) if expires else None
    except ValueError:
        raise ValueError("the expiry is not a date such as 2027-12-31") from None
    return Record(
        kid,
        hashed,
        parse_scopes(granted or DEFAULT_SCOPES),
        last_day,
        limits_of(filter(None, limits.split(","))),
        peppered=algorithm == "hmac-sha256",
    )
