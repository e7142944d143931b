"""`ops keys new`: what is printed is a key and the record that accepts it."""

import json
from datetime import date

import pytest
from click.testing import CliRunner

from ops.__main__ import main
from server.access.keys import Keyring
from server.errors import Unauthenticated
from server.types import Principal


def new(*arguments: str) -> dict[str, str]:
    """The key and record that `ops keys new --json` prints."""
    result = CliRunner().invoke(main, ["keys", "new", "--json", *arguments])
    assert 0 == result.exit_code, result.output
    printed: dict[str, str] = json.loads(result.output)
    return printed


def authenticate(made: dict[str, str], day: date) -> Principal:
    """What a server with the record says to the key on a day."""
    return Keyring.parse(made["record"], today=lambda: day).authenticate(made["key"])


def test_the_record_accepts_the_key() -> None:
    """And the record does not hold the key."""
    made = new("n8n")
    assert "n8n" == authenticate(made, date(2026, 1, 1)).key_id
    assert made["key"].split("_")[2] not in made["record"]


def test_two_keys_differ() -> None:
    """Each call makes a new secret."""
    assert new("n8n") != new("n8n")


def test_the_last_day_is_a_good_one() -> None:
    """--expires names the last day; the next one is too late."""
    made = new("n8n", "--expires", "2027-12-31")
    assert "n8n" == authenticate(made, date(2027, 12, 31)).key_id
    with pytest.raises(Unauthenticated):
        authenticate(made, date(2028, 1, 1))


def test_scopes_limit_the_key() -> None:
    """Only what was named."""
    made = new("n8n", "--scope", "models")
    assert frozenset({"models"}) == authenticate(made, date(2026, 1, 1)).scopes


def test_people_get_both_with_words() -> None:
    """Without --json the key and the record stand on lines of their own."""
    lines = CliRunner().invoke(main, ["keys", "new", "n8n"]).output.splitlines()
    key, record = (line.strip() for line in lines if line.startswith("  "))
    assert "n8n" == authenticate({"key": key, "record": record}, date(2026, 1, 1)).key_id


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Not A Name"], "a kid is 1 to 32 of a-z, 0-9 and -"),
        (["n8n", "--expires", "tomorrow"], "does not match"),
        (["n8n", "--scope", "everything"], "is not one of"),
        ([], "Missing argument 'NAME'"),
    ],
)
def test_wrong_usage_says_what_is_allowed(arguments: list[str], message: str) -> None:
    """Exit code 2, no traceback."""
    result = CliRunner().invoke(main, ["keys", "new", *arguments])
    assert 2 == result.exit_code
    assert message in result.output
