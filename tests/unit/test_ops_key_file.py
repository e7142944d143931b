"""`ops keys list | check | rotate | revoke`: on a file of records."""

import json
import stat
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ops.__main__ import main
from server.access.keys import Keyring, new_key
from server.access.records import parse_records
from server.errors import Unauthenticated

TODAY = datetime.now(UTC).date()


@pytest.fixture(autouse=True)
def _one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Midnight does not come between two commands of a test."""
    monkeypatch.setattr("ops.keys._today", lambda: TODAY)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of records with two keys and comments."""
    a = new_key("n8n", scopes={"transcribe"}, limits=["max_requests=2"])
    b = new_key("desk", expires=date(2020, 1, 1))
    path = tmp_path / "api_keys"
    path.write_text(f"# keys\n{a.record} # the workflow\n\n{b.record}\n")
    path.chmod(0o640)
    return path


def keys(*arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> Result:
    """Run `ops keys`."""
    return CliRunner().invoke(main, ["keys", *arguments], input=stdin, env=env)


def rows(path: Path) -> dict[str, dict[str, str]]:
    """What `list --json` says, by kid."""
    result = keys("list", "--file", str(path), "--json")
    assert 0 == result.exit_code, result.output
    return {row["kid"]: row for row in json.loads(result.output)}


def takes(path: Path, key: str, day: date = TODAY) -> bool:
    """Whether a server with this file would take the key on a day."""
    try:
        Keyring.parse(path.read_text(), today=lambda: day).authenticate(key)
    except Unauthenticated:
        return False
    return True


def test_new_adds_the_record(file: Path) -> None:
    """At the end; what was there stays, the file's mode too."""
    before = file.read_text()
    made = json.loads(keys("new", "phone", "--file", str(file), "--json").output)

    assert f"{before}{made['record']}\n" == file.read_text()
    assert 0o640 == stat.S_IMODE(file.stat().st_mode)
    assert takes(file, made["key"])


def test_new_makes_the_file(tmp_path: Path) -> None:
    """Its owner's alone."""
    path = tmp_path / "fresh"
    result = keys("new", "phone", "--file", str(path))

    assert "SIGHUP" in result.output
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert ["phone"] == list(rows(path))


def test_new_refuses_a_name_that_is_taken(file: Path) -> None:
    """And leaves the file alone."""
    before = file.read_text()
    result = keys("new", "n8n", "--file", str(file))

    assert 1 == result.exit_code
    assert "twice" in result.output
    assert before == file.read_text()


def test_list_shows_what_each_key_may(file: Path) -> None:
    """Never a hash."""
    found = rows(file)

    assert ("works", "transcribe", "max_requests=2") == (
        found["n8n"]["state"],
        found["n8n"]["scopes"],
        found["n8n"]["limits"],
    )
    assert ("expired", "2020-01-01") == (found["desk"]["state"], found["desk"]["expires"])
    text = keys("list", "--file", str(file)).output
    assert ["kid=n8n", "kid=desk"] == [line.split()[0] for line in text.splitlines()]
    assert not any(record.digest in text for record in parse_records(file.read_text()))


def test_list_takes_what_the_server_is_given(file: Path) -> None:
    """The environment's records, or the file that it names."""
    given = keys("list", env={"SUSSURRO_API_KEYS": new_key("env").record}).output
    named = keys("list", env={"SUSSURRO_API_KEYS_FILE": str(file)}).output

    assert ("kid=env", "kid=n8n") == (given.split()[0], named.split()[0])


def test_check_tells_a_good_key_from_a_typo_and_a_stranger(file: Path) -> None:
    """The key comes by standard input: a command line can be seen by everybody."""
    made = json.loads(keys("new", "phone", "--file", str(file), "--json").output)["key"]
    arguments = ("check", "--file", str(file))
    good, typo = keys(*arguments, stdin=made), keys(*arguments, stdin=made[:-1] + "_")
    stranger = keys(*arguments, stdin=new_key("phone").key)

    assert (0, 1, 1) == (good.exit_code, typo.exit_code, stranger.exit_code)
    assert "phone is good for: models, transcribe, translate" in good.output
    assert "typo" in typo.output
    assert "not among the records" in stranger.output
    assert not any(made in result.output for result in (good, typo, stranger))


def test_check_needs_the_pepper(tmp_path: Path) -> None:
    """New keys are hashed with it, and checked with it."""
    path, env = tmp_path / "keys", {"SUSSURRO_KEY_PEPPER": "secret"}
    made = json.loads(keys("new", "phone", "--file", str(path), "--json", env=env).output)

    assert made["record"].startswith("phone:hmac-sha256:")
    assert 0 == keys("check", "--file", str(path), stdin=made["key"], env=env).exit_code


def test_rotate_keeps_both_for_a_while(tmp_path: Path) -> None:
    """The same caller, scopes and limits; the old key ends after the overlap."""
    path = tmp_path / "keys"
    first = new_key("n8n", scopes={"transcribe"}, limits=["max_requests=2"])
    path.write_text(f"{first.record} # the workflow\n")
    made = json.loads(
        keys("rotate", "n8n", "--file", str(path), "--overlap-days", "3", "--json").output
    )
    last, next_day = TODAY + timedelta(days=3), TODAY + timedelta(days=4)

    assert [True, True] == [takes(path, key, last) for key in (first.key, made["key"])]
    assert [False, True] == [takes(path, key, next_day) for key in (first.key, made["key"])]
    old, new = parse_records(path.read_text())
    assert (old.name, old.scopes, old.limits) == (new.name, new.scopes, new.limits)
    assert ("n8n", "n8n_2", None) == (old.kid, new.kid, new.expires)
    assert "# the workflow" in path.read_text()


def test_two_live_keys_are_enough(tmp_path: Path) -> None:
    """A third one waits until one of them is gone; then its number goes on."""
    path = tmp_path / "keys"
    path.write_text(new_key("n8n").record)
    keys("rotate", "n8n", "--file", str(path))
    third = keys("rotate", "n8n", "--file", str(path))

    assert 1 == third.exit_code
    assert "n8n and n8n_2 both work" in third.output
    assert 0 == keys("revoke", "n8n", "--file", str(path)).exit_code
    assert 0 == keys("rotate", "n8n", "--file", str(path)).exit_code
    assert ["n8n_2", "n8n_3"] == list(rows(path))


def test_rotate_never_lengthens_a_life(tmp_path: Path) -> None:
    """A key that ends sooner than the overlap ends then."""
    path, last = tmp_path / "keys", TODAY + timedelta(days=1)
    path.write_text(new_key("n8n", expires=last).record)
    keys("rotate", "n8n", "--file", str(path))

    assert last == parse_records(path.read_text())[0].expires


def test_revoke_removes_one_key(file: Path) -> None:
    """Others and comments stay."""
    assert 0 == keys("revoke", "n8n", "--file", str(file)).exit_code
    assert ["desk"] == list(rows(file))
    assert file.read_text().startswith("# keys\n# the workflow\n\ndesk:")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["revoke", "nobody"], "no key nobody"),
        (["rotate", "nobody"], "No key of nobody works"),
        (["rotate", "desk"], "No key of desk works"),
    ],
)
def test_what_is_not_there_is_told(file: Path, arguments: list[str], message: str) -> None:
    """Exit code 1, and nothing is changed."""
    before = file.read_text()
    result = keys(*arguments, "--file", str(file))

    assert 1 == result.exit_code
    assert message in result.output
    assert before == file.read_text()


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """By name, without a traceback."""
    result = keys("list", "--file", str(tmp_path / "none"))

    assert 1 == result.exit_code
    assert "cannot be read" in result.output
