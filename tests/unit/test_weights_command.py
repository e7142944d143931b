"""`ops weights` at the command line: arguments, exit codes, output."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ops.__main__ import main


def run(*arguments: str | Path) -> Result:
    """The result of `ops …`."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_list_names_every_model_and_where_it_is(tmp_path: Path) -> None:
    """One line a model; those that are here show their folder."""
    (tmp_path / "tiny").mkdir()
    result = run("weights", "list", "--to", tmp_path)
    lines = {line.split()[0]: line for line in result.output.splitlines()}
    assert f"in {tmp_path / 'tiny'}" in lines["tiny"]
    assert "147,882,941 bytes  not here" in lines["base"]


def test_list_as_json(tmp_path: Path) -> None:
    """The same for programs, with the pinned revision."""
    rows = json.loads(run("weights", "list", "--json", "--to", tmp_path).output)
    assert ["tiny", "base", "small", "medium", "large-v3", "large-v3-turbo"] == [
        row["model"] for row in rows
    ]
    assert all(len(row["revision"]) == 40 and row["here"] is False for row in rows)


def test_verify_fails_when_a_model_is_missing(tmp_path: Path) -> None:
    """Exit code 1 and what is wrong; the default is the model in the settings."""
    result = run("weights", "verify", "--to", tmp_path)
    assert (1, f"base: {tmp_path / 'base'} does not exist\n") == (result.exit_code, result.output)


def test_verify_as_json_lists_the_problems(tmp_path: Path) -> None:
    """Every model with its problems, and still exit code 1."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text("{}")
    result = run("weights", "verify", "--json", "--to", tmp_path, "tiny")
    problems = json.loads(result.output)["tiny"]
    assert 1 == result.exit_code
    assert "config.json has 2 bytes, pinned are 2249" in problems
    assert "model.bin is missing" in problems


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    """The known names are listed."""
    result = run("weights", "get", "--to", tmp_path, "huge")
    assert 1 == result.exit_code
    assert "no model 'huge' in the catalogue; it has tiny, base" in result.output


def test_get_from_a_folder_asks_nobody_else(tmp_path: Path) -> None:
    """With --from, a wrong folder is the end, and the error names it."""
    source = tmp_path / "usb"
    source.mkdir()
    result = run("weights", "get", "tiny", "--from", source, "--to", tmp_path / "weights")
    assert 1 == result.exit_code
    assert f"the folder {source}: config.json is not there" in result.output
    assert "registry" not in result.output


def test_get_into_a_file_is_an_error_for_people(tmp_path: Path) -> None:
    """No traceback when the folder cannot be made."""
    (tmp_path / "file").touch()
    result = run("weights", "get", "tiny", "--to", tmp_path / "file" / "weights")
    assert 1 == result.exit_code
    assert "Error: " in result.output
    assert "Not a directory" in result.output


def test_wrong_settings_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """All problems and exit code 78, before anything is fetched."""
    monkeypatch.setenv("SUSSURRO_PORT", "many")
    monkeypatch.setenv("SUSSURRO_COLOUR", "red")
    result = run("weights", "get")
    assert 78 == result.exit_code
    assert "SUSSURRO_PORT: " in result.output
    assert "SUSSURRO_COLOUR: no such setting" in result.output


def test_path_follows_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What `SUSSURRO_WEIGHTS_DIR` says, with the home folder spelled out."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SUSSURRO_WEIGHTS_DIR", "~/w")
    assert f"{tmp_path / 'w'}\n" == run("weights", "path").output


@pytest.mark.model
def test_the_real_weights_verify(weights_dir: Path) -> None:
    """Every byte of what ./just fetched has its pinned hash."""
    result = run("weights", "verify", "base", "--to", weights_dir)
    assert (0, "base: right\n") == (result.exit_code, result.output)


@pytest.mark.model
def test_the_real_weights_can_be_carried_by_hand(weights_dir: Path, tmp_path: Path) -> None:
    """A folder taken from another machine serves as a source."""
    result = run("weights", "get", "base", "--from", weights_dir / "base", "--to", tmp_path)
    assert 0 == result.exit_code, result.output
    assert 145_217_532 == (tmp_path / "base" / "model.bin").stat().st_size
