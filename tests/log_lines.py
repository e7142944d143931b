"""Every line that a server writes in a test is as docs/log.schema.json says."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

FILE = Path(__file__).parents[1] / "docs" / "log.schema.json"


@cache
def schema() -> dict[str, Any]:
    """The document."""
    return dict(json.loads(FILE.read_text(encoding="utf-8")))


@cache
def _of_event(event: str) -> Draft202012Validator:
    """The document for one event: the rules of all others would be looked at for nothing."""
    rules = [rule["then"] for rule in schema()["allOf"] if event == _event(rule)]
    return Draft202012Validator({**schema(), "allOf": rules})


def _event(rule: dict[str, Any]) -> str:
    return str(rule["if"]["properties"]["event"]["const"])


def events() -> dict[str, dict[str, Any]]:
    """By event: the fields that it has besides those of every line, and which of them always."""
    return {_event(rule): rule["then"] for rule in schema()["allOf"]}


def check(log: str) -> None:
    """Fail with the first line that is not as described; the last one may be cut."""
    for text in log.splitlines(keepends=True):
        if text.endswith("\n"):
            line = json.loads(text)
            for problem in _of_event(str(line.get("event"))).iter_errors(line):
                raise AssertionError(f"{problem.message}\nin the log line: {text}")
