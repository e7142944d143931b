"""Keys and their records."""

import hashlib
import hmac
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.access.keys import Keyring, kid_of, new_key
from server.access.records import Record, RecordsError
from server.access.scopes import DEFAULT_SCOPES, require
from server.errors import Forbidden, Unauthenticated
from server.types import KeyLimits, Principal


def ring(*records: str, today: date = date(2026, 6, 1)) -> Keyring:
    """A keyring from records' texts."""
    return Keyring.parse("\n".join(records), today=lambda: today)


def problems(text: str) -> list[str]:
    """What the keyring says about bad records."""
    with pytest.raises(RecordsError) as caught:
        Keyring.parse(text, today=lambda: date(2026, 1, 1))
    return caught.value.problems


def test_a_new_key_opens_its_own_record() -> None:
    """The key that is shown and the record that the server gets belong together."""
    fresh = new_key("n8n")

    assert Principal("n8n", "n8n", DEFAULT_SCOPES) == ring(fresh.record).authenticate(fresh.key)


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
    assert DEFAULT_SCOPES == ring(fresh.record).authenticate(fresh.key).scopes


@pytest.mark.parametrize("kid", ["", "UPPER", "under_score", "-dash", "a" * 33, "a:b", "ä"])
def test_a_bad_kid_gets_no_key(kid: str) -> None:
    """A kid is safe in logs, in records and between underscores."""
    with pytest.raises(ValueError, match="kid"):
        new_key(kid)


@pytest.mark.parametrize("scopes", [{"everything"}, set()])
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
        f"UP:sha256:{digest} a:md5:{digest} b:sha256:xyz c:sha256:{digest}:root "
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
    require(Principal("a", "a", frozenset({"models"})), "models")
    with pytest.raises(Forbidden, match="transcribe"):
        require(Principal("a", "a", frozenset({"models"})), "transcribe")


def test_a_key_without_scopes_is_no_administrator() -> None:
    """What others have used, and the server's figures, are for keys that name those scopes."""
    fresh = new_key("n8n")

    assert not {"admin", "metrics"} & ring(fresh.record).authenticate(fresh.key).scopes


def test_limits_are_kept_in_the_record() -> None:
    """Named as in the settings; what is not named is the server's to decide."""
    fresh = new_key("n8n", limits=["requests_per_minute=60", "audio_minutes_per_day=0"])

    assert fresh.record.endswith(":::requests_per_minute=60,audio_minutes_per_day=0")
    assert KeyLimits(requests_per_minute=60, audio_minutes_per_day=0) == (
        ring(fresh.record).authenticate(fresh.key).limits
    )


@pytest.mark.parametrize(
    "limits",
    [
        ["rpm=6"],
        ["max_requests"],
        ["max_requests=-1"],
        ["max_requests=1.5"],
        ["max_requests=٣"],
        ["max_requests=99999999"],
        ["max_requests=1", "max_requests=2"],
    ],
)
def test_a_bad_limit_gets_no_key(limits: list[str]) -> None:
    """A limit that would not hold is refused when the key is made."""
    with pytest.raises(ValueError, match=r"limit|max_requests"):
        new_key("a", limits=limits)


def test_keys_that_replace_one_another_are_one_caller() -> None:
    """Each has an id of its own in the log; the name is what limits and usage go by."""
    old, new = new_key("n8n"), new_key("n8n_2")
    keyring = ring(old.record, new.record)
    callers = [keyring.authenticate(key.key) for key in (old, new)]

    assert [("n8n", "n8n"), ("n8n_2", "n8n")] == [(c.key_id, c.name) for c in callers]


@pytest.mark.parametrize("kid", ["n8n_1", "n8n_02", "n8n_", "n8n_x", "n8n_99999", "n8n_2_3"])
def test_only_numbers_from_two_follow_a_name(kid: str) -> None:
    """One key has one id."""
    with pytest.raises(ValueError, match="kid"):
        new_key(kid)


def test_a_pepper_is_needed_beside_the_record() -> None:
    """Whoever has the records alone cannot even try keys against them."""
    fresh = new_key("n8n", pepper="salt and more")
    record = fresh.record
    expected = hmac.new(b"salt and more", fresh.key.encode(), "sha256").hexdigest()

    assert f"n8n:hmac-sha256:{expected}" == record
    good = Keyring.parse(record, today=date.today, pepper="salt and more")
    assert "n8n" == good.authenticate(fresh.key).key_id
    with pytest.raises(Unauthenticated):
        Keyring.parse(record, today=date.today, pepper="other").authenticate(fresh.key)
    with pytest.raises(RecordsError, match="no pepper"):
        Keyring.parse(record, today=date.today)


def test_records_with_and_without_pepper_live_side_by_side() -> None:
    """A pepper can be brought in key by key."""
    plain, salted = new_key("a"), new_key("b", pepper="p")
    keyring = Keyring.parse(f"{plain.record} {salted.record}", today=date.today, pepper="p")

    assert ["a", "b"] == [keyring.authenticate(k.key).key_id for k in (plain, salted)]


def test_the_log_learns_why_a_key_was_refused() -> None:
    """The caller does not."""
    old, stranger = new_key("old", expires=date(2020, 1, 1)), new_key("stranger")
    keyring = ring(old.record)

    reasons = []
    for key in ("sk-abc", stranger.key, old.key, new_key("old").key):
        with pytest.raises(Unauthenticated) as caught:
            keyring.authenticate(key)
        reasons.append(caught.value.reason)

    assert ["key_malformed", "key_unknown", "key_expired", "key_unknown"] == reasons


@given(st.text(max_size=200) | st.from_regex(r"wsk_[a-z0-9_-]{0,40}_\w{0,60}", fullmatch=True))
def test_no_text_is_more_than_a_bad_key(text: str) -> None:
    """Whatever is sent as a key ends in the same refusal."""
    with pytest.raises(Unauthenticated):
        ring(new_key("n8n").record).authenticate(text)


@given(st.text(max_size=300) | st.from_regex(r"[a-z:,=0-9_-]{0,200}", fullmatch=True))
def test_no_text_breaks_the_reader_of_records(text: str) -> None:
    """It is read, or its problems are told."""
    try:
        ring(text)
    except RecordsError as error:
        told = error.problems
        assert told
