"""Who may call, as the settings have it."""

import pytest
from pydantic import SecretStr

from server.access.callers import NO_CALLERS, Callers
from server.access.keys import new_key
from server.access.records import RecordsError
from server.settings import Settings


def problems(**settings: str) -> list[str]:
    """What is wrong with these settings."""
    with pytest.raises(RecordsError) as caught:
        Callers.from_settings(Settings(**{n: SecretStr(v) for n, v in settings.items()}))
    return caught.value.problems


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Keys, token keys and denied tokens, none of them repeated."""
    found = problems(
        api_keys="a:md5:hunter2", token_keys="ops:ed25519:hunter2", denied_tokens="hunter2$"
    )

    assert ["key record 1", "token key 1", "denied token 1"] == [p.split(":")[0] for p in found]
    assert not any("hunter2" in problem for problem in found)


def test_nobody_is_a_mistake() -> None:
    """There is no open mode, also when keys are read again."""
    assert [NO_CALLERS] == problems()


def test_a_hash_with_pepper_needs_one() -> None:
    """At the start, not at the first request."""
    record = new_key("a", pepper="p").record

    assert ["the key a is hmac-sha256, but no pepper is set"] == problems(api_keys=record)
    settings = Settings(api_keys=SecretStr(record), key_pepper=SecretStr("p"))
    assert 1 == len(Callers.from_settings(settings))


def test_token_keys_alone_are_enough() -> None:
    """A server may take nothing but tokens."""
    settings = Settings(token_keys=SecretStr("ops:ed25519:" + "A" * 43))

    assert 1 == len(Callers.from_settings(settings))
