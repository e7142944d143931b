"""`ops tokens`: what is minted is what the server takes."""

import json
import stat
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner, Result

from ops.__main__ import main
from server.access.callers import Callers
from server.settings import Settings
from server.types import KeyLimits


def tokens(*arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> Result:
    """Run `ops tokens`."""
    return CliRunner().invoke(main, ["tokens", *arguments], input=stdin, env=env)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The file of a private key named `ops`."""
    path = tmp_path / "ops.pem"
    assert 0 == tokens("keygen", "ops", "--key", str(path)).exit_code
    return path


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The server's settings with the public key of another pair, named `desk`."""
    output = tokens("keygen", "desk", "--key", str(tmp_path / "desk.pem")).output
    return {"SUSSURRO_TOKEN_KEYS": output.split()[-1]}


def test_the_private_key_is_its_owners_alone(key: Path) -> None:
    """And never overwritten."""
    before = key.read_bytes()

    assert 0o600 == stat.S_IMODE(key.stat().st_mode)
    assert b"kid: ops\n-----BEGIN PRIVATE KEY-----" == before[:36]
    assert 1 == tokens("keygen", "ops", "--key", str(key)).exit_code
    assert before == key.read_bytes()


def test_the_server_takes_what_is_minted(tmp_path: Path, env: dict[str, str]) -> None:
    """With the scopes and limits that were asked for."""
    arguments = ["mint", "n8n", "--key", str(tmp_path / "desk.pem")]
    flags = ["--scope", "translate", "--limit", "max_requests=3", "--lifetime", "60"]
    token = tokens(*arguments, *flags, env=env).output.strip()
    caller = Callers.from_settings(Settings.from_env(env)).authenticate(token)
    claims = jwt.decode(token, options={"verify_signature": False})

    assert ("n8n", frozenset({"translate"})) == (caller.name, caller.scopes)
    assert KeyLimits(max_requests=3) == caller.limits
    assert 60 == claims["exp"] - claims["iat"]
    assert token != tokens(*arguments, *flags, env=env).output.strip()


def test_inspect_shows_a_token_and_whether_it_is_good(tmp_path: Path, env: dict[str, str]) -> None:
    """By the settings in the environment; exit code 1 if the server would refuse it."""
    mint = ["mint", "n8n", "--key", str(tmp_path / "desk.pem")]
    token = tokens(*mint, env=env).output
    good = tokens("inspect", stdin=token, env=env)
    elsewhere = tokens("inspect", stdin=token, env={**env, "SUSSURRO_TOKEN_AUDIENCE": "other"})

    assert (0, 1) == (good.exit_code, elsewhere.exit_code)
    shown = json.loads(good.output.partition("\nExpires")[0])
    assert ("desk", "n8n") == (shown["header"]["kid"], shown["claims"]["sub"])
    assert "would refuse it: token_audience" in elsewhere.output


def test_a_token_of_an_unknown_key_is_refused(key: Path, env: dict[str, str]) -> None:
    """The command says why; the server would not."""
    token = tokens("mint", "n8n", "--key", str(key)).output

    assert "token_key_unknown" in tokens("inspect", stdin=token, env=env).output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mint", "n8n", "--key", "KEY", "--lifetime", "901"], "the server allows 900 s"),
        (["mint", "N8N", "--key", "KEY"], "a name is"),
        (["mint", "n8n", "--key", "KEY", "--limit", "speed=1"], "limits are"),
        (["mint", "n8n", "--key", "KEY", "--scope", "root"], "is not one of"),
        (["mint", "n8n"], "Missing option '--key'"),
        (["keygen", "Ops", "--key", "NEW"], "a kid is"),
    ],
)
def test_wrong_usage_says_what_is_allowed(
    tmp_path: Path, key: Path, arguments: list[str], message: str
) -> None:
    """Exit code 2, no traceback."""
    paths = {"KEY": str(key), "NEW": str(tmp_path / "new")}
    result = tokens(*(paths.get(word, word) for word in arguments))

    assert 2 == result.exit_code
    assert message in result.output


@pytest.mark.parametrize("content", [None, "", "kid: a\nno key", "no key at all"])
def test_a_file_that_holds_no_key_is_told(tmp_path: Path, content: str | None) -> None:
    """Exit code 1, no traceback."""
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    result = tokens("mint", "n8n", "--key", str(path))

    assert 1 == result.exit_code
    assert "cannot be read" in result.output or "holds no key" in result.output


def test_what_is_no_token_is_told() -> None:
    """Without repeating it."""
    result = tokens("inspect", stdin="hunter2")

    assert 1 == result.exit_code
    assert "This is no token." in result.output
    assert "hunter2" not in result.output
