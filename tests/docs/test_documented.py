"""Every setting, error code, request field and log field is in the documentation, as it is."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
import yaml
from log_lines import events, schema
from pydantic import SecretStr

from ops.__main__ import main as ops_main
from ops.grafana.panels import ROWS
from server import errors
from server.access.windows import Windows
from server.admission import Admission, Bounds
from server.formats import RESPONSE_FORMATS
from server.http.fields import UNSUPPORTED, Fields
from server.metrics.registry import Metrics
from server.metrics.requests import MEDIA_REASONS, OTHER
from server.metrics.state import Parts
from server.observe.logs import RequestRecord
from server.settings import PREFIX, SECRETS, Settings

DOCS = Path(__file__).parents[2] / "docs"


def rows(name: str, heading: str = "") -> dict[str, list[str]]:
    """The rows of a page's tables whose first cell is code: that code → the other cells."""
    found = {}
    text = (DOCS / name).read_text(encoding="utf-8")
    if heading:
        text = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    for line in text.splitlines():
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
    """Whoever reads a log line can look its fields up; the schema says the same."""
    described = {**events()["request"]["properties"], **schema()["properties"]}
    (meaning,) = rows("logs.md", "A request")[field.name]

    assert meaning == described[field.name]["description"]


def test_no_other_field_of_a_log_line_is_documented() -> None:
    """A field that is gone is gone from the page, too."""
    common = {"event", "level", "time"}

    assert {field.name for field in dataclasses.fields(RequestRecord)} | common == set(
        rows("logs.md", "A request")
    )


def test_every_event_of_the_log_is_documented_and_no_other() -> None:
    """With its fields, as the schema has them."""
    documented = {
        event: set(re.findall(r"`(\w+)`", cells[0]))
        for event, cells in rows("logs.md", "Other events").items()
    }

    assert documented == {
        event: set(rule["properties"]) for event, rule in events().items() if event != "request"
    }


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


def all_metrics() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every metric with its type and labels; with a Redis and a GPU, so that none is missing."""
    loader, jobs = SimpleNamespace(healthy=True), SimpleNamespace()
    parts = Parts((), {}, Admission(Bounds()), loader, Windows("redis://x", 1), {}, jobs)
    registry = Metrics(parts, nvml=SimpleNamespace(), gpus=()).registry
    found = {}
    for collector in registry._collector_to_names:
        for family in collector.collect():
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = getattr(collector, "_labelnames", getattr(family, "_labelnames", ()))
            found[name] = (family.type, tuple(labels))
    return found


def test_every_metric_is_documented_and_no_other() -> None:
    """With its type and its labels."""
    documented = {
        name: (cells[0], tuple(re.findall(r"`(\w+)`", cells[1])))
        for name, cells in rows("metrics.md").items()
    }

    assert all_metrics() == documented


def test_every_reason_of_a_media_failure_is_documented() -> None:
    """They are a label's values, and `other`."""
    meaning = rows("metrics.md")["sussurro_media_failures_total"][2]

    assert {*MEDIA_REASONS, OTHER} == set(re.findall(r"`(\w+)`", meaning))


@pytest.mark.parametrize("page", ["alerts.md", "alerts.pt-BR.md"])
def test_every_alert_is_in_the_runbook_and_no_other(page: str) -> None:
    """In the order of the rules, with what to look at and what to do."""
    rules = yaml.safe_load((DOCS.parent / "ops/prometheus/alerts.yaml").read_text(encoding="utf-8"))
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    text = (DOCS / page).read_text(encoding="utf-8")
    sections = re.findall(r"^## (\w+)\n\n(.*?)(?=\n## |\Z)", text, re.MULTILINE | re.DOTALL)

    assert alerts == [name for name, _ in sections]
    assert all(re.search(r"^- (Look|Olhe)", section, re.MULTILINE) for _, section in sections)


@pytest.mark.parametrize("page", ["alerts.md", "alerts.pt-BR.md"])
def test_the_runbook_names_panels_that_there_are(page: str) -> None:
    """By the beginning of their titles, in italics."""
    titles = [panel.title for row in ROWS for panel in row.panels]
    text = (DOCS / page).read_text(encoding="utf-8").partition("\n## ")[2]

    for name in re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", text):
        assert any(title.startswith(name) for title in titles), name
