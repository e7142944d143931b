"""Tokens: what the server takes, and all that it does not."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from server import texts
from server.access.records import RecordsError
from server.access.tokens import Tokens, parse_denied, parse_public_keys, public_text
from server.errors import Unauthenticated
from server.types import KeyLimits, Principal

OURS = Ed25519PrivateKey.generate()
OTHER = Ed25519PrivateKey.generate()
TEXT = f"{public_text('ops', OURS.public_key())} {public_text('old', OTHER.public_key())}"
TOKENS = Tokens(
    parse_public_keys(TEXT),
    issuer="sussurro",
    audience="sussurro",
    max_lifetime=900,
    denied=frozenset({"stolen"}),
)


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims, but for what a test changes; None takes one away."""
    now = int(time.time())
    good: dict[str, Any] = {
        "iss": "sussurro",
        "aud": "sussurro",
        "sub": "n8n",
        "jti": "a1",
        "iat": now,
        "exp": now + 300,
        "scope": "transcribe models",
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def signed(
    key: Any = OURS, kid: str | None = "ops", algorithm: str = "EdDSA", **changes: Any
) -> str:
    """A token with those claims."""
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def forged(header: dict[str, Any], payload: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A token put together by hand."""
    head, body = (encoded(json.dumps(part).encode()) for part in (header, payload))
    return f"{head}.{body}.{encoded(sign(f'{head}.{body}'.encode()))}"


def encoded(data: bytes) -> str:
    """base64url as JOSE has it."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def refused(token: str) -> str | None:
    """The reason for the log; the caller hears the same as for any bad key."""
    with pytest.raises(Unauthenticated) as caught:
        TOKENS.authenticate(token)
    assert texts.WRONG_KEY.en == caught.value.message
    return caught.value.reason


def test_a_good_token_says_who_calls() -> None:
    """The log has subject and id; limits and usage go by the subject."""
    limits = {"requests_per_minute": 5, "audio_minutes_per_day": 10}

    assert Principal(
        "n8n/a1",
        "n8n",
        frozenset({"transcribe", "models"}),
        KeyLimits(requests_per_minute=5, audio_minutes_per_day=10),
    ) == TOKENS.authenticate(signed(limits=limits))


def test_two_keys_can_sign() -> None:
    """Rotation: a token names the key that it is checked with."""
    assert "n8n" == TOKENS.authenticate(signed(OTHER, "old")).name


def test_another_key_of_ours_is_not_good_for_a_kid() -> None:
    """The kid chooses one key, and only that one is tried."""
    assert "token_signature" == refused(signed(OTHER, "ops"))


@pytest.mark.parametrize("kid", [None, "new", ""])
def test_an_unknown_kid_is_refused(kid: str | None) -> None:
    """No key is guessed."""
    assert "token_key_unknown" == refused(signed(kid=kid))


@pytest.mark.parametrize("kid", [7, None, ["ops"], {"ops": 1}])
def test_a_kid_that_is_no_text_is_refused(kid: object) -> None:
    """Also where it could not be looked up."""
    assert "token_malformed" == refused(forged({"alg": "EdDSA", "kid": kid}, claims(), OURS.sign))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
@pytest.mark.parametrize("signature", [b"", b"x"])
def test_no_signature_is_refused(algorithm: str, signature: bytes) -> None:
    """`none` in any spelling."""
    token = forged({"alg": algorithm, "kid": "ops"}, claims(), lambda _: signature)

    assert "token_algorithm" == refused(token)


def test_the_public_key_is_no_shared_secret() -> None:
    """Key confusion: HS256 with our public key, in each of its forms, as the secret."""
    public = OURS.public_key()
    forms = [
        public.public_bytes_raw(),
        public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        public_text("ops", public).encode(),
    ]
    for secret in forms:
        for algorithm in ("HS256", "EdDSA"):
            token = forged(
                {"alg": algorithm, "kid": "ops"},
                claims(),
                lambda data, secret=secret: hmac.new(secret, data, hashlib.sha256).digest(),
            )
            assert refused(token) in ("token_algorithm", "token_signature")


def test_other_algorithms_are_refused() -> None:
    """Whatever key they are signed with: the server has one algorithm."""
    rsa_key = rsa.generate_private_key(65537, 2048)

    assert "token_algorithm" == refused(signed(rsa_key, algorithm="RS256"))
    assert "token_algorithm" == refused(signed("k" * 64, algorithm="HS512"))


def test_the_other_edwards_curve_is_refused() -> None:
    """EdDSA with Ed448 shares the algorithm's name, not our key."""
    assert "token_signature" == refused(signed(ed448.Ed448PrivateKey.generate()))


def test_keys_in_the_header_are_not_used() -> None:
    """`jwk`, `jku` and `x5u` would let the caller choose the key."""
    public = encoded(OTHER.public_key().public_bytes_raw())
    header = {
        "alg": "EdDSA",
        "kid": "ops",
        "jwk": {"kty": "OKP", "crv": "Ed25519", "x": public},
        "jku": "http://127.0.0.1/keys",
    }

    assert "token_signature" == refused(forged(header, claims(), OTHER.sign))


@pytest.mark.parametrize("header", [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": False}])
def test_critical_headers_that_we_do_not_know_are_refused(header: dict[str, Any]) -> None:
    """RFC 7515, 4.1.11."""
    token = forged({"alg": "EdDSA", "kid": "ops"} | header, claims(), OURS.sign)

    assert "token_malformed" == refused(token)


def test_an_expired_token_is_refused() -> None:
    """Clocks may differ by a few seconds, not more."""
    now = int(time.time())

    assert "token_expired" == refused(signed(iat=now - 300, exp=now - 10))


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_a_token_from_the_future_is_refused(claim: str) -> None:
    """Nobody can stock up."""
    now = int(time.time())
    token = signed(**{claim: now + 60, "exp": now + 120})

    assert "token_not_yet_valid" == refused(token)


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "iat", "exp", "jti", "scope"])
def test_every_claim_must_be_there(claim: str) -> None:
    """What is missing is not assumed."""
    assert "token_claim_missing" == refused(signed(**{claim: None}))


@pytest.mark.parametrize("audience", ["openai", ["sussurro"], ["sussurro", "x"], "Sussurro"])
def test_a_token_for_somebody_else_is_refused(audience: object) -> None:
    """One audience, and that is us."""
    assert "token_audience" == refused(signed(aud=audience))


def test_a_token_from_somebody_else_is_refused() -> None:
    """The issuer is the one in the settings."""
    assert "token_issuer" == refused(signed(iss="other"))


@pytest.mark.parametrize("lifetime", [901, 10**9, 0, -1])
def test_a_long_life_is_refused(lifetime: int) -> None:
    """Whoever signs cannot go beyond the server's limit."""
    now = int(time.time())

    assert refused(signed(iat=now, exp=now + lifetime)) in ("token_lifetime", "token_expired")


def test_a_denied_token_is_refused() -> None:
    """By its id, before it expires."""
    assert "token_denied" == refused(signed(jti="stolen"))


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": "root"},
        {"scope": ""},
        {"scope": ["transcribe"]},
        {"scope": "transcribe,models"},
        {"sub": "Root"},
        {"sub": "a_b"},
        {"sub": ""},
        {"jti": ""},
        {"jti": "a b"},
        {"jti": "x" * 65},
        {"limits": {"speed": 1}},
        {"limits": {"max_requests": True}},
        {"limits": {"max_requests": -1}},
        {"limits": {"max_requests": "9"}},
        {"limits": [1]},
        {"iat": True},
    ],
)
def test_claims_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    """Though the signature is good."""
    assert refused(signed(**changes)) in ("token_claim_wrong", "token_lifetime")


def test_a_fraction_of_a_second_is_refused() -> None:
    """Though it is in the future, and the signature good."""
    assert refused(signed(exp=time.time() // 1 + 300.5)) in ("token_claim_wrong", "token_lifetime")


@pytest.mark.parametrize("changes", [{"sub": 7}, {"jti": 7}, {"exp": "soon"}, {"exp": [1]}])
def test_claims_of_the_wrong_kind_are_refused(changes: dict[str, Any]) -> None:
    """As above, by the library."""
    token = forged({"alg": "EdDSA", "kid": "ops"}, claims(**changes), OURS.sign)

    assert refused(token) in ("token_malformed", "token_claim_wrong")


@pytest.mark.parametrize("value", ["Infinity", "NaN", "1e999", "9" * 400])
def test_numbers_that_are_none_are_refused(value: str) -> None:
    """JSON in Python takes more than JSON allows."""
    head = encoded(b'{"alg":"EdDSA","kid":"ops"}')
    text = json.dumps(claims(exp=0)).replace('"exp": 0', f'"exp": {value}')
    body = encoded(text.encode())
    token = f"{head}.{body}.{encoded(OURS.sign(f'{head}.{body}'.encode()))}"

    assert refused(token) in ("token_malformed", "token_claim_wrong", "token_lifetime")


@pytest.mark.parametrize(
    "token",
    ["..", "a.b.c", "e30.e30.", f"{encoded(b'[' * 3000)}.e30.AA", "." * 5000, "\udcff.b.c"],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    """Empty, nested deeply, too long, or no text at all."""
    assert refused(token) in ("token_malformed", "token_algorithm", "token_claim_wrong")


@given(st.text(max_size=300) | st.from_regex(r"[\w-]{0,80}\.[\w-]{0,80}\.[\w-]{0,80}"))
def test_no_text_is_more_than_a_bad_token(text: str) -> None:
    """Whatever is sent as a token ends in the same refusal."""
    assert refused(text)


@given(st.integers(0, 400), st.integers(1, 255))
def test_one_changed_character_spoils_a_token(at: int, change: int) -> None:
    """Header, claims and signature are all covered."""
    good = signed()
    at %= len(good)
    spoilt = good[:at] + chr(ord(good[at]) ^ change) + good[at + 1 :]
    # base64url may write the last bits of a part in more ways than one: those are the same bytes
    raw = [base64.urlsafe_b64decode(part + "==") for part in good.split(".")]
    try:
        same = raw == [base64.urlsafe_b64decode(part + "==") for part in spoilt.split(".")]
    except ValueError:
        same = False

    if not same:
        assert refused(spoilt)


def test_public_keys_are_read_with_all_their_problems() -> None:
    """A private key, a wrong length or another algorithm is none, and is not repeated."""
    private = OURS.private_bytes_raw()
    secret = encoded(private)
    good = public_text("ops", OURS.public_key())
    with pytest.raises(RecordsError) as caught:
        parse_public_keys(f"{good} {good} x:ed25519:AAAA y:rsa:{secret} BAD:ed25519:{secret} # z")

    assert [2, 3, 4, 5] == [int(p.split()[2].rstrip(":")) for p in caught.value.problems]
    assert not any(secret in problem for problem in caught.value.problems)


def test_denied_tokens_are_read_with_all_their_problems() -> None:
    """White space between them, comments after `#`."""
    assert frozenset({"a", "b"}) == parse_denied("a # lost\n b\n")
    with pytest.raises(RecordsError) as caught:
        parse_denied("a b$ c/d")
    assert 2 == len(caught.value.problems)
