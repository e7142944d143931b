"""The first key of `ops serve`."""

import stat
from datetime import date
from pathlib import Path

import pytest

from ops.serve import _first_key, _sandbox_for
from server.access.keys import Keyring


def test_the_first_key_is_kept_as_a_hash(tmp_path: Path) -> None:
    """The file accepts the key, does not hold it, and is its owner's alone."""
    records = tmp_path / "state" / "api_keys"
    key = _first_key(records) or ""
    text = records.read_text()
    principal = Keyring.parse(text, today=lambda: date(2026, 1, 1)).authenticate(key)
    assert "local" == principal.key_id
    assert key.split("_")[2] not in text
    assert 0o600 == stat.S_IMODE(records.stat().st_mode)
    assert 0o700 == stat.S_IMODE(records.parent.stat().st_mode)


def test_there_is_one_first_key(tmp_path: Path) -> None:
    """The second start makes none and leaves the file alone."""
    records = tmp_path / "state" / "api_keys"
    _first_key(records)
    before = records.read_bytes()
    assert None is _first_key(records)
    assert before == records.read_bytes()


@pytest.mark.parametrize(
    ("host", "given", "expected"),
    [
        ("127.0.0.1", None, "available"),
        ("::1", None, "available"),
        ("127.0.0.1", "required", "required"),
        ("0.0.0.0", None, None),
    ],
)
def test_only_loopback_relaxes_the_sandbox(
    monkeypatch: pytest.MonkeyPatch, host: str, given: str | None, expected: str | None
) -> None:
    """Who can be reached from outside, or has said so, gets the strict sandbox."""
    monkeypatch.setenv("SUSSURRO_HOST", host)
    environ = {} if given is None else {"SUSSURRO_SANDBOX": given}
    _sandbox_for(environ)
    assert expected == environ.get("SUSSURRO_SANDBOX")
