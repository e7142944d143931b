"""Properties of keys, records, tokens and settings: what is wrong is refused, not repeated."""

import base64
import json
import time
from datetime import date
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import strategies as st
from target import target

from server.access.keys import Keyring, kid_of, new_key
from server.access.records import LIMITS, MAX_LIMIT, Record, RecordsError, parse_records
from server.access.scopes import SCOPES
from server.access.tokens import Tokens, parse_denied, parse_public_keys, public_text
from server.errors import Unauthenticated
from server.settings import PREFIX, SECRETS, Settings, SettingsError
from server.types import KeyLimits

OURS = new_key("ours")
RING = Keyring.parse(OURS.record, today=lambda: date(2026, 1, 1))
SIGNER = Ed25519PrivateKey.generate()
TOKENS = Tokens(
    parse_public_keys(public_text("ops", SIGNER.public_key())),
    issuer="sussurro",
    audience="sussurro",
    max_lifetime=900,
    denied=frozenset({"stolen"}),
)

EDITS = st.lists(
    st.tuples(st.integers(0, 200), st.integers(0, 3), st.text(max_size=3)), min_size=1, max_size=3
)


def edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    """The text with some of it exchanged."""
    for place, gone, piece in edits:
        at = place % (len(text) + 1)
        text = text[:at] + piece + text[at + gone :]
    return text


@target(st.one_of(st.text(max_size=80), EDITS.map(lambda edits: edited(OURS.key, edits))))
def keys(key: str) -> None:
    """No text but the key itself is the key, whatever bytes it is sent as."""
    sent = key.encode("utf-8", "surrogatepass").decode("latin-1")
    for presented in (key, sent):
        if presented == OURS.key:
            assert RING.authenticate(presented).key_id == "ours"
            continue
        try:
            RING.authenticate(presented)
        except Unauthenticated as error:
            assert error.reason == ("key_unknown" if kid_of(presented) else "key_malformed")
        else:
            raise AssertionError("another text was taken for the key")


RECORDS = st.builds(
    Record,
    kid=st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}(_[2-9])?", fullmatch=True),
    digest=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    scopes=st.sets(st.sampled_from(sorted(SCOPES)), min_size=1).map(frozenset),
    expires=st.none() | st.dates(),
    limits=st.builds(KeyLimits, **dict.fromkeys(LIMITS, st.none() | st.integers(0, MAX_LIMIT))),
    peppered=st.booleans(),
)


@target(RECORDS)
def key_records(record: Record) -> None:
    """A record reads back as it was written."""
    assert parse_records(str(record)) == (record,)


@target(RECORDS, EDITS)
def spoilt_records(record: Record, edits: list[tuple[int, int, str]]) -> None:
    """Changed records are refused without a word of them, or are records."""
    text = edited(str(record), edits)
    try:
        found = parse_records(text)
    except RecordsError as error:
        assert error.problems
        assert not any(record.digest[:16] in problem for problem in error.problems)
    else:
        assert parse_records(" ".join(map(str, found))) == found


@target(st.text(max_size=120))
def record_lists(text: str) -> None:
    """Lists of public keys and of denied tokens are read, or refused with every problem."""
    for parse in (parse_public_keys, parse_denied, parse_records):
        try:
            parse(text)
        except RecordsError as error:
            assert error.problems


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "iss": st.sampled_from(["sussurro", "other", ["sussurro"]]) | ANYTHING,
        "aud": st.sampled_from(["sussurro", ["sussurro"], [], ""]) | ANYTHING,
        "sub": st.sampled_from(["n8n", "N8N", "", "a" * 40]) | ANYTHING,
        "jti": st.sampled_from(["a1", "stolen", "a b"]) | ANYTHING,
        "scope": st.sampled_from(["transcribe", "admin metrics", "", " ", "root"]) | ANYTHING,
        "iat": st.integers(-1_000, 1_000) | ANYTHING,
        "exp": st.integers(-1_000, 2_000) | ANYTHING,
        "nbf": st.integers(-1_000, 1_000) | ANYTHING,
        "limits": st.dictionaries(
            st.sampled_from([*LIMITS, "x"]), ANYTHING | st.integers(), max_size=2
        )
        | ANYTHING,
    },
)
HEADERS = st.fixed_dictionaries(
    {"alg": st.sampled_from(["EdDSA", "EdDSA", "EdDSA", "none", "HS256", "eddsa"]) | ANYTHING},
    optional={
        "kid": st.sampled_from(["ops", "ops", "ops", "", "../ops"]) | ANYTHING,
        "typ": ANYTHING,
        "crit": ANYTHING,
        "b64": st.booleans(),
        "jwk": ANYTHING,
    },
)


@target(HEADERS, CLAIMS, st.booleans())
def tokens(header: dict[str, Any], claims: dict[str, Any], good: bool) -> None:
    """Truly signed tokens with any header and claims: taken only if every claim is as it must."""
    now = int(time.time())
    whole = {"iss": "sussurro", "aud": "sussurro", "sub": "n8n", "jti": "a1", "scope": "transcribe"}
    for name in ("iat", "exp", "nbf"):
        if type(claims.get(name)) is int:
            claims[name] = now + claims[name]
    if good:  # otherwise hardly any would come as far as its last claim
        claims = {**whole, "iat": now, "exp": now + 300, **claims}
        header = {"kid": "ops", **header}
    signed = f"{_part(json.dumps(header).encode())}.{_part(json.dumps(claims).encode())}"
    token = f"{signed}.{_part(SIGNER.sign(signed.encode()))}"
    try:
        caller = TOKENS.authenticate(token)
    except Unauthenticated as error:
        assert (error.reason or "").startswith("token_")
        return
    assert header["alg"] == "EdDSA"
    assert header["kid"] == "ops"
    assert (claims["iss"], claims["aud"]) == ("sussurro", "sussurro")
    assert claims["iat"] <= now + 6
    assert now - 6 <= claims["exp"] <= claims["iat"] + 900
    assert caller.key_id == f"{claims['sub']}/{claims['jti']}" != "n8n/stolen"
    assert caller.scopes == set(claims["scope"].split()) <= SCOPES


@target(st.lists(st.one_of(st.binary(max_size=30).map(_part), st.text(max_size=20)), max_size=5))
def no_tokens(parts: list[str]) -> None:
    """What only looks like a token is refused."""
    try:
        TOKENS.authenticate(".".join(parts))
    except Unauthenticated as error:
        assert (error.reason or "").startswith("token_")
    else:
        raise AssertionError("no signature, and taken")


SETTINGS = sorted(PREFIX + name.upper() for name in Settings.__dataclass_fields__)
SETTING_VALUES = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=30),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["", "auto", "*", "https://a.example", "pt,en", "0", "1", "-1", "1e3", "inf"]),
)


@target(
    st.dictionaries(
        st.one_of(
            st.sampled_from(SETTINGS),
            st.sampled_from([f"{PREFIX}{name.upper()}_FILE" for name in SECRETS]),
            st.text(max_size=8).map(lambda text: PREFIX + text),
        ),
        SETTING_VALUES,
        max_size=4,
    )
)
def settings(environ: dict[str, str]) -> None:
    """An environment is settings, or a list of problems that repeats no value."""
    files = {name: "/nowhere/" + value for name, value in environ.items() if name.endswith("_FILE")}
    try:
        Settings.from_env(environ | files)
    except SettingsError as error:
        assert error.problems
        for name in environ.keys() - files.keys():
            if len(environ[name]) > 12 and name in SETTINGS:
                assert not any(environ[name] in problem for problem in error.problems)
