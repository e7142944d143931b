"""API keys: `wsk_<kid>_<secret>_<checksum>` for the caller, a hash of it for the server.

Knows: the form of keys, how one is made and recognised, expiry, comparison in constant time.
Must not know: HTTP. The key itself is never kept or logged; only its `kid` is.
"""

import hmac
import re
import secrets
import string
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date

from server import texts
from server.access.records import (
    KID,
    Record,
    RecordsError,
    digest,
    limits_of,
    parse_records,
)
from server.access.scopes import parse_scopes
from server.errors import Unauthenticated
from server.types import Principal

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
SECRET_CHARS = 43
"""62 ** 43 is just above 2 ** 256."""

CHECKSUM_CHARS = 6
"""62 ** 6 is just above 2 ** 32, the range of CRC-32."""

_KEY = re.compile(rf"wsk_({KID.pattern})_[0-9A-Za-z]{{{SECRET_CHARS}}}_[0-9A-Za-z]{{6}}")


@dataclass(frozen=True, slots=True, repr=False)
class NewKey:
    """A fresh key, shown once to its owner, and the record that the server is given."""

    key: str
    record: str


def new_key(
    kid: str,
    *,
    expires: date | None = None,
    scopes: Iterable[str] | None = None,
    limits: Iterable[str] = (),
    pepper: str | None = None,
) -> NewKey:
    """A key of 256 random bits; `limits` are words such as `requests_per_minute=60`.

    Raises:
        ValueError: the kid, a scope or a limit is not allowed.
    """
    if not KID.fullmatch(kid):
        raise ValueError("a kid is 1 to 32 of a-z, 0-9 and -, and does not start with -")
    draft = Record(kid, "", expires=expires, limits=limits_of(limits), peppered=pepper is not None)
    if scopes is not None:
        draft = replace(draft, scopes=parse_scopes(frozenset(scopes)))
    return key_for(draft, pepper)


def key_for(draft: Record, pepper: str | None) -> NewKey:
    """A key of 256 random bits whose record is this one, but for its hash."""
    secret = "".join(secrets.choice(BASE62) for _ in range(SECRET_CHARS))
    body = f"wsk_{draft.kid}_{secret}"
    key = f"{body}_{_checksum(body)}"
    record = replace(draft, digest=digest(key, pepper), peppered=pepper is not None)
    return NewKey(key, str(record))


def kid_of(key: str) -> str | None:
    """The kid of a well-formed key with a good checksum, else None. Says nothing of its truth."""
    match = _KEY.fullmatch(key)
    if match is None or _checksum(key[: -CHECKSUM_CHARS - 1]) != key[-CHECKSUM_CHARS:]:
        return None
    return match[1]


class Keyring:
    """All keys that the server takes."""

    def __init__(
        self,
        records: Iterable[Record],
        *,
        today: Callable[[], date],
        pepper: str | None = None,
    ) -> None:
        """Index the records by kid; `today` is the date in UTC.

        Raises:
            RecordsError: a record needs a pepper, and there is none.
        """
        self._records = {record.kid: record for record in records}
        self._today = today
        self._pepper = pepper
        # Compared against when the kid is unknown, so that the time taken does not tell.
        self._nobody = Record("nobody", "0" * 64, peppered=pepper is not None)
        peppered = [record.kid for record in self._records.values() if record.peppered]
        if peppered and pepper is None:
            raise RecordsError(
                [f"the key {kid} is hmac-sha256, but no pepper is set" for kid in peppered]
            )

    def __len__(self) -> int:
        return len(self._records)

    @classmethod
    def parse(cls, text: str, *, today: Callable[[], date], pepper: str | None = None) -> "Keyring":
        """Read records separated by white space; `#` starts a comment.

        Raises:
            RecordsError: with every problem at once.
        """
        return cls(parse_records(text), today=today, pepper=pepper)

    def authenticate(self, key: str) -> Principal:
        """Who presents this key.

        Raises:
            Unauthenticated: malformed, unknown or expired; the message never says which, only the
                `reason` does, which is for the log.
        """
        kid = kid_of(key)
        found = self._records.get(kid or "")
        record = found or self._nobody
        presented = digest(key, self._pepper if record.peppered else None)
        same = hmac.compare_digest(presented, record.digest)
        if found is None or not same:
            raise Unauthenticated(texts.WRONG_KEY, reason="key_unknown" if kid else "key_malformed")
        if record.expires and self._today() > record.expires:
            raise Unauthenticated(texts.WRONG_KEY, reason="key_expired")
        return Principal(record.kid, record.name, record.scopes, record.limits)


def _checksum(body: str) -> str:
    """CRC-32 in base 62: a typo is noticed without the server, and scanners find leaked keys."""
    number = zlib.crc32(body.encode("ascii"))
    digits = []
    for _ in range(CHECKSUM_CHARS):
        number, rest = divmod(number, len(BASE62))
        digits.append(BASE62[rest])
    return "".join(reversed(digits))
