"""Keys and their records."""

import hashlib
from datetime import date

import pytest

from server.access.keys import (
    SCOPES,
    Keyring,
    KeyringError,
    Record,
    kid_of,
    new_key,
    require,
)
from server.errors import Forbidden, Unauthenticated
from server.types import Principal


def ring(*records: str, today: date = date(2026, 6, 1)) -> Keyring:
    """A keyring from records' texts."""
    return Keyring.parse("\n".join(records), today=lambda: today)


def problems(text: str) -> list[str]:
    """What the keyring says about bad records."""
    with pytest.raises(KeyringError) as caught:
        Keyring.parse(text, today=lambda: date(2026, 1, 1))
    return caught.value.problems


def test_a_new_key_opens_its_own_record() -> None:
    """The key that is shown and the record that the server gets belong together."""
    fresh = new_key("n8n")

    assert Principal("n8n", SCOPES) == ring(fresh.record).authenticate(fresh.key)


def test_a_key_has_the_published_form() -> None:
    """wsk, kid, 43 characters, 6 characters of checksum, joined by underscores."""
    parts = new_key("n8n-2026").key.split("_")

    assert ["wsk", "n8n-2026"] == parts[:2]
    assert [43, 6] == [len(part) for part in parts[2:]]


def test_the_record_holds_only_a_hash() -> None:
    """Nothing of the secret is in the record, and it is plain SHA-256 of the key."""
    fresh = new_key("n8n")

    assert f"n8n:sha256:{hashlib.sha256(fresh.key.encode()).hexdigest()}" == fresh.record
    assert fresh.key.split("_")[2] not in fresh.record


def test_two_keys_differ() -> None:
    """Keys are random."""
    assert new_key("a").key != new_key("a").key


def test_the_key_is_not_in_the_repr() -> None:
    """A key that is printed by accident stays secret."""
    fresh = new_key("n8n")

    assert fresh.key not in repr(fresh)


def test_expiry_and_scopes_are_kept_in_the_record() -> None:
    """A record says all that the server needs to know."""
    fresh = new_key("n8n", expires=date(2027, 1, 31), scopes={"transcribe", "models"})
    _, _, _, scopes, expires = fresh.record.split(":")

    assert ("models,transcribe", "2027-01-31") == (scopes, expires)
    assert {"transcribe", "models"} == ring(fresh.record).authenticate(fresh.key).scopes


def test_an_expiry_without_scopes_leaves_their_place_empty() -> None:
    """Positions in a record do not shift."""
    fresh = new_key("n8n", expires=date(2027, 1, 31))

    assert fresh.record.endswith("::2027-01-31")
    assert SCOPES == ring(fresh.record).authenticate(fresh.key).scopes


@pytest.mark.parametrize("kid", ["", "UPPER", "under_score", "-dash", "a" * 33, "a:b", "ä"])
def test_a_bad_kid_gets_no_key(kid: str) -> None:
    """A kid is safe in logs, in records and between underscores."""
    with pytest.raises(ValueError, match="kid"):
        new_key(kid)


@pytest.mark.parametrize("scopes", [{"admin"}, set()])
def test_unknown_or_no_scopes_get_no_key(scopes: set[str]) -> None:
    """A key is good for something that exists."""
    with pytest.raises(ValueError, match="scopes"):
        new_key("a", scopes=scopes)


def test_the_last_day_is_a_good_one() -> None:
    """A key works through the day of its expiry and not on the next."""
    fresh = new_key("n8n", expires=date(2026, 6, 1))

    assert "n8n" == ring(fresh.record, today=date(2026, 6, 1)).authenticate(fresh.key).key_id
    with pytest.raises(Unauthenticated):
        ring(fresh.record, today=date(2026, 6, 2)).authenticate(fresh.key)


def test_every_wrong_key_gets_the_same_message() -> None:
    """Malformed, unknown, expired and forged keys cannot be told apart."""
    known, unknown = new_key("known"), new_key("unknown")
    old = new_key("old", expires=date(2020, 1, 1))
    forged = new_key("known").key
    typo = known.key[:-1] + ("0" if known.key[-1] != "0" else "1")
    keyring = ring(known.record, old.record)

    messages = set()
    for key in ("", "x", "sk-abc", unknown.key, old.key, forged, typo, known.key + "x", "ключ"):
        with pytest.raises(Unauthenticated) as caught:
            keyring.authenticate(key)
        messages.add(caught.value.message)

    assert 1 == len(messages)


def test_two_live_keys_are_two_kids() -> None:
    """Rotation: the old and the new key work side by side."""
    old, new = new_key("n8n-a"), new_key("n8n-b")
    keyring = ring(old.record, new.record)

    assert ["n8n-a", "n8n-b"] == [keyring.authenticate(k.key).key_id for k in (old, new)]


def test_records_are_separated_by_any_white_space_and_comments_are_skipped() -> None:
    """One line or many, from the environment or a file."""
    a, b, c = (new_key(kid).record for kid in "abc")

    assert 3 == len(ring(f"# keys\n{a}  {b}\t\n\n{c} # the third"))


def test_all_problems_are_told_at_once_and_values_are_not_repeated() -> None:
    """Whoever sets the server up reads everything in one go, and no hash lands in a log."""
    digest = "ab" * 32
    found = problems(
        f"UP:sha256:{digest} a:md5:{digest} b:sha256:xyz c:sha256:{digest}:admin "
        f"d:sha256:{digest}::soon e:sha256:{digest}:::: f f:sha256:{digest} f:sha256:{digest}"
    )

    assert [1, 2, 3, 4, 5, 6, 7, 9] == [int(line.split()[2].rstrip(":")) for line in found]
    assert not any(digest in line or "xyz" in line for line in found)


def test_the_checksum_finds_a_typo() -> None:
    """A key with one character changed is not well-formed."""
    key = new_key("n8n").key
    changed = key[:10] + ("x" if key[10] != "x" else "y") + key[11:]

    assert ("n8n", None) == (kid_of(key), kid_of(changed))


def test_a_known_checksum() -> None:
    """The checksum is CRC-32 in base 62, most significant digit first: others can check it."""
    # zlib.crc32(b"wsk_a_" + b"0" * 43) == 3535138350, in base 62 with digits 0-9 A-Z a-z
    number, digits = 3535138350, ""
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    while number:
        number, digit = divmod(number, 62)
        digits = alphabet[digit] + digits
    assert "a" == kid_of(f"wsk_a_{'0' * 43}_{digits:0>6}")


def test_a_record_reads_back_as_it_was_written() -> None:
    """str() of a record is the record."""
    record = Record("a", "0" * 64, frozenset({"models"}), date(2027, 1, 1))

    assert f"a:sha256:{'0' * 64}:models:2027-01-01" == str(record)


def test_a_missing_scope_is_forbidden() -> None:
    """Scopes are enforced by name."""
    require(Principal("a", frozenset({"models"})), "models")
    with pytest.raises(Forbidden, match="transcribe"):
        require(Principal("a", frozenset({"models"})), "transcribe")
