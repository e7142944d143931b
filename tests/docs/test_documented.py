"""Every setting, error code, request field and log field is in the documentation, as it is."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import SecretStr

from ops.__main__ import main as ops_main
from server import errors
from server.formats import RESPONSE_FORMATS
from server.http.fields import UNSUPPORTED, Fields
from server.observe.logs import RequestRecord
from server.settings import PREFIX, SECRETS, Settings

DOCS = Path(__file__).parents[2] / "docs"


def rows(name: str) -> dict[str, list[str]]:
    """The rows of a page's tables whose first cell is code: that code → the other cells."""
    found = {}
    for line in (DOCS / name).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if match := re.fullmatch(r"`([^`]+)`", cells[0]):
            found[match[1]] = cells[1:]
    return found


def shown(default: object) -> str:
    """A default as one would type it."""
    if default is None or isinstance(default, SecretStr):
        return "none"
    if default == ():
        return "empty"
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    if isinstance(default, float):
        return f"`{default:g}`"
    return f"`{default}`"


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_every_setting_is_documented(field: "dataclasses.Field[object]") -> None:
    """Name, default and meaning, word by word."""
    info = Settings.__pydantic_fields__[field.name]
    default, meaning = rows("settings.md")[PREFIX + field.name.upper()]

    assert info.description == meaning
    if field.name != "spool_dir":  # the system's own folder for temporary files
        assert shown(info.default) == default


def test_no_other_setting_is_documented() -> None:
    """A setting that is gone is gone from the page, too."""
    known = {PREFIX + field.name.upper() for field in dataclasses.fields(Settings)}
    known |= {f"{PREFIX}{name.upper()}_FILE" for name in SECRETS}
    text = (DOCS / "settings.md").read_text(encoding="utf-8")

    assert known == set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", text))


def tree(root: type[errors.ServerError]) -> Iterator[type[errors.ServerError]]:
    """All errors below the root."""
    for child in root.__subclasses__():
        yield child
        yield from tree(child)


ERRORS = {str(error.code): error for error in tree(errors.ServerError)}


@pytest.mark.parametrize("code", ERRORS)
def test_every_error_is_documented(code: str) -> None:
    """Status and type, and what to do about it."""
    status, kind, meaning = rows("errors.md")[code]

    assert (str(ERRORS[code].status), f"`{ERRORS[code].type}`") == (status, kind)
    assert len(meaning) > 20


def test_no_other_error_is_documented() -> None:
    """A code that is gone is gone from the page, too."""
    documented = {code for code, cells in rows("errors.md").items() if len(cells) == 3}

    assert set(ERRORS) == documented


@pytest.mark.parametrize("name", ["file", *Fields.model_fields, *UNSUPPORTED])
def test_every_request_field_is_documented(name: str) -> None:
    """Also those that are refused."""
    assert name in rows("api.md")


@pytest.mark.parametrize("name", RESPONSE_FORMATS)
def test_every_format_is_documented(name: str) -> None:
    """With its content type."""
    assert any(name == row for row in rows("api.md"))


@pytest.mark.parametrize("field", dataclasses.fields(RequestRecord), ids=lambda field: field.name)
def test_every_field_of_a_log_line_is_documented(field: "dataclasses.Field[object]") -> None:
    """Whoever reads a log line can look its fields up."""
    assert field.name in rows("logs.md")


def test_no_other_field_of_a_log_line_is_documented() -> None:
    """A field that is gone is gone from the page, too."""
    common = {"event", "level", "time"}

    assert {field.name for field in dataclasses.fields(RequestRecord)} | common == set(
        rows("logs.md")
    )


def commands(group: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group, by what one types."""
    context = click.Context(group)
    for child in group.list_commands(context):
        command, path = group.get_command(context, child), f"{name} {child}"
        yield from (
            commands(command, path) if isinstance(command, click.Group) else [(path, command)]
        )


COMMANDS = dict(commands(ops_main, "ops"))
WITHOUT_JSON = {"ops serve", "ops completion"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    """With all of its options and no other, and its exit codes; all can print JSON."""
    _, options, codes = rows("commands.md")[name]
    known = {
        word
        for option in COMMANDS[name].params
        if isinstance(option, click.Option)
        for word in (*option.opts, *option.secondary_opts)
        if word.startswith("--")
    }

    assert ("--json" in known) == (name not in WITHOUT_JSON)
    assert known - {"--json"} == set(re.findall(r"`(--[a-z-]+)`", options))
    assert {"0", "2"} <= set(codes.split()) <= {"0", "1", "2", "78", "130"}


def test_no_other_command_is_documented() -> None:
    """A command that is gone is gone from the page, too."""
    assert set(COMMANDS) == {name for name in rows("commands.md") if name.startswith("ops ")}
