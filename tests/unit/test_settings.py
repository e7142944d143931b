"""Settings from the environment."""

import dataclasses
from pathlib import Path

import pytest

from server.settings import PREFIX, SECRETS, Settings, SettingsError


def read(**environ: str) -> Settings:
    """Settings from names without the prefix."""
    return Settings.from_env({PREFIX + name.upper(): value for name, value in environ.items()})


def problems(**environ: str) -> list[str]:
    """What is said about a bad environment."""
    with pytest.raises(SettingsError) as caught:
        read(**environ)
    return caught.value.problems


def test_an_empty_environment_gives_the_defaults() -> None:
    """Everything but the keys has a default."""
    assert Settings() == read()


def test_the_service_listens_on_port_9005_of_this_machine() -> None:
    """Nothing is reachable from outside unless somebody asks for it."""
    assert ("127.0.0.1", 9005) == (read().host, read().port)


def test_other_names_are_left_alone() -> None:
    """The environment belongs to others, too."""
    assert Settings() == Settings.from_env({"PATH": "/bin", "XSUSSURRO_PORT": "1"})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("port", "0", 0),
        ("models", "base, large-v3\nturbo,", ("base", "large-v3", "turbo")),
        ("weights_dir", "/srv/w", Path("/srv/w")),
        ("max_audio_seconds", "12.5", 12.5),
        ("drain_grace", "0", 0.0),
        ("discard_bytes", "0", 0),
        ("sandbox", "available", "available"),
        ("log_level", "debug", "debug"),
    ],
)
def test_text_becomes_a_value(name: str, text: str, value: object) -> None:
    """Numbers, paths, lists and choices are read from text."""
    assert value == getattr(read(**{name: text}), name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "65536"),
        ("port", "http"),
        ("models", " , "),
        ("sandbox", "off"),
        ("log_level", "INFO"),
        ("max_audio_seconds", "0"),
        ("max_audio_seconds", "nan"),
        ("max_audio_seconds", "inf"),
        ("compute_type", "int4"),
        ("max_field_bytes", "1"),
        ("drain_grace", "-1"),
    ],
)
def test_a_bad_value_is_named_but_not_repeated(name: str, text: str) -> None:
    """The message says which setting, and never what it was set to."""
    (problem,) = problems(**{name: text})

    assert problem.startswith(f"{PREFIX}{name.upper()}: ")


def test_all_problems_come_at_once() -> None:
    """Nobody should have to start the server five times."""
    found = problems(port="x", speed="9", sandbox="no", weights_dir_file="/w")

    assert [
        "SUSSURRO_SPEED: no such setting",
        "SUSSURRO_WEIGHTS_DIR_FILE: no such setting",
    ] == sorted(line for line in found if "no such" in line)
    assert 4 == len(found)


def test_keys_may_come_from_a_file(tmp_path: Path) -> None:
    """Docker and Kubernetes hand out secrets as files; a line break at the end is the file's."""
    secret = tmp_path / "keys"
    secret.write_text("a:sha256:00\n")

    assert "a:sha256:00" == read(api_keys_file=str(secret)).api_keys.get_secret_value()


def test_a_secret_given_twice_is_a_mistake(tmp_path: Path) -> None:
    """Which of the two would win is nobody's guess."""
    (problem,) = problems(api_keys="a", api_keys_file=str(tmp_path / "keys"))

    assert "not both" in problem


def test_a_secret_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """The server does not start without the keys that it was promised."""
    (problem,) = problems(api_keys_file=str(tmp_path / "none"))

    assert "SUSSURRO_API_KEYS_FILE: cannot be read (FileNotFoundError)" == problem


def test_a_secret_file_that_is_no_text_is_a_problem(tmp_path: Path) -> None:
    """A binary file is named as the problem, not shown."""
    secret = tmp_path / "keys"
    secret.write_bytes(b"\xff\xfe")
    (problem,) = problems(api_keys_file=str(secret))

    assert "SUSSURRO_API_KEYS_FILE: cannot be read (UnicodeDecodeError)" == problem


@pytest.mark.parametrize("name", ["\udd00", "a\0b"])
def test_a_secret_file_with_a_name_that_no_file_has_is_a_problem(name: str) -> None:
    """Listed like any other, not a traceback. Found by fuzzing."""
    (problem,) = problems(api_keys_file=name)

    assert problem.startswith("SUSSURRO_API_KEYS_FILE: cannot be read (")


def test_secrets_are_not_in_the_repr() -> None:
    """Settings that are printed by accident tell no key."""
    assert "hunter2" not in repr(read(api_keys="hunter2"))


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Settings)])
def test_every_setting_has_a_description(name: str) -> None:
    """The documentation is checked against these; empty ones would say nothing."""
    field = Settings.__pydantic_fields__[name]

    assert (field.description or "").endswith(".")


def test_every_secret_is_a_setting() -> None:
    """A `_FILE` twin needs its sibling."""
    assert set(SECRETS) <= {field.name for field in dataclasses.fields(Settings)}


def test_settings_do_not_change() -> None:
    """What the server was started with stays."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().port = 1  # type: ignore[misc]
