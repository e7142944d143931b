"""`--json`: standard output is JSON and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ops.__main__ import main


def ops(*arguments: object, given: str | None = None, **environ: str) -> Any:
    """What a command prints, read as JSON."""
    words = [*map(str, arguments), "--json"]
    done = CliRunner().invoke(main, words, input=given, env=environ)
    assert 0 == done.exit_code, done.output
    return json.loads(done.stdout)


def test_the_life_of_a_key(tmp_path: Path) -> None:
    """Made, looked at, tried, replaced, ended."""
    file = ("--file", tmp_path / "keys")
    made = ops("keys", "new", "n8n", "--limit", "max_requests=3", *file)
    checked = ops("keys", "check", *file, given=made["key"])
    assert {"kid": "n8n", "limits": "max_requests=3"} == {
        name: checked[name] for name in ("kid", "limits")
    }
    assert "transcribe" in checked["scopes"]
    assert "n8n_2" in ops("keys", "rotate", "n8n", *file)["record"]
    revoked = ops("keys", "revoke", "n8n", *file)
    assert {"revoked": "n8n", "file": str(file[1])} == revoked
    assert ["n8n_2"] == [row["kid"] for row in ops("keys", "list", *file)]


def test_the_life_of_a_token(tmp_path: Path) -> None:
    """Signed by a key that was made for it, and looked into."""
    key = ("--key", tmp_path / "desk.pem")
    public = ops("tokens", "keygen", "desk", *key)["public_key"]
    minted = ops("tokens", "mint", "n8n", *key)
    seen = ops("tokens", "inspect", given=minted["token"], SUSSURRO_TOKEN_KEYS=public)

    assert minted["claims"] == seen["claims"]
    assert "desk" == seen["header"]["kid"]


def test_where_weights_are(tmp_path: Path) -> None:
    """The folder, for scripts."""
    found = ops("weights", "path", SUSSURRO_WEIGHTS_DIR=str(tmp_path))

    assert {"path": str(tmp_path)} == found


@pytest.mark.model
def test_weights_that_are_here(weights_dir: Path) -> None:
    """What was fetched, or was there, by model; progress is elsewhere."""
    found = ops("weights", "get", "base", "--to", weights_dir)

    assert {"base": str(weights_dir / "base")} == found
