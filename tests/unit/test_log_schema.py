"""docs/log.schema.json: what the code writes, field by field, and nothing else."""

import ast
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from log_lines import check, events, schema

from server.observe.logs import RequestRecord

SOURCES = sorted((Path(__file__).parents[2] / "server").rglob("*.py"))
WRITES = re.compile(r"(structlog\.get_logger\(\)|log)\.(?!bind|new)\w+$|tell$")
"""`tell` is one of `log`'s methods, chosen."""
TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
COMMON = {"event", "level", "time", "request_id"}


def written() -> Iterator[tuple[str, set[str], bool]]:
    """Every call that writes a line: its event, its fields, and whether there may be more."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not WRITES.match(ast.unparse(node.func)):
                continue
            name = ast.unparse(node.func).rpartition(".")[2]
            (event, *_) = [
                arg.value
                for arg in node.args
                if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            ]
            fields = {keyword.arg for keyword in node.keywords if keyword.arg}
            if name == "exception":
                fields.add("exc_info")
            fields = {"exception" if field == "exc_info" else field for field in fields}
            yield event, fields, any(keyword.arg is None for keyword in node.keywords)


def test_it_is_a_schema() -> None:
    """Of the draft that it names; each event once, and all of them listed."""
    Draft202012Validator.check_schema(schema())

    assert schema()["properties"]["event"]["enum"] == list(events())


def test_every_line_of_the_code_is_described_and_no_other() -> None:
    """Whoever adds an event or a field adds it there, too."""
    found: dict[str, set[str]] = {}
    for event, fields, more in written():
        assert event in events(), f"docs/log.schema.json and docs/logs.md lack {event}"
        described = set(events()[event]["properties"]) | COMMON
        assert fields <= described, f"{event} in docs/log.schema.json and docs/logs.md"
        found.setdefault(event, set()).update(described if more else fields)

    assert set(events()) == set(found)
    for event, fields in found.items():
        assert set(events()[event]["properties"]) <= fields | COMMON, event


def test_a_requests_line_has_the_types_of_its_record() -> None:
    """Also which fields are always there."""
    fields = {field.name: field for field in dataclasses.fields(RequestRecord)}
    rule = events()["request"]

    assert set(fields) - {"request_id"} == set(rule["properties"])
    for name, described in rule["properties"].items():
        kind = TYPES[str(getattr(fields[name].type, "__name__", fields[name].type)).split(" ")[0]]
        assert kind == described.get("type", "string"), name
    always = {name for name, field in fields.items() if field.default is not None}
    assert always | {"total_s"} == set(rule["required"])


def line(**fields: object) -> str:
    """A line that is well, but for `fields`."""
    well = {"event": "ready", "level": "info", "time": "2026-11-26T01:02:03.123456Z"}
    return json.dumps({**well, "model": "base", "seconds": 1, **fields}) + "\n"


@pytest.mark.parametrize(
    "wrong",
    [
        {"event": "unknown"},
        {"model": 1},
        {"transcript": "Bom dia"},
        {"time": "today"},
        {"level": "loud"},
        {"request_id": "with space"},
    ],
)
def test_what_is_not_described_is_found(wrong: dict[str, object]) -> None:
    """The check that the tests of servers run can fail."""
    check(line())
    check(line(request_id="req_1") + '{"cut')
    with pytest.raises(AssertionError):
        check(line(**wrong))
