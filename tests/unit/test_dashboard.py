"""The dashboard and the alerts: made of code, and of metrics that there are."""

import json
import re
from pathlib import Path

import pytest
import yaml

from ops.grafana.dashboard import FILE, build
from ops.grafana.panels import ROWS

ROOT = Path(__file__).parents[2]
ALERTS = yaml.safe_load((ROOT / "ops/prometheus/alerts.yaml").read_text(encoding="utf-8"))
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
EXPRESSIONS = [
    *(query.expr for row in ROWS for panel in row.panels for query in panel.queries),
    *(rule["expr"] for rule in RULES),
]
LABELS = {"le", "instance", "job"}
"""What Prometheus adds."""


def metrics() -> dict[str, set[str]]:
    """Those of the documentation, which another test holds to the code, with their labels."""
    table = re.findall(
        r"^\| `(\w+)` \| (\w+) \|([^|]*)\|",
        (ROOT / "docs/metrics.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    found = {}
    for name, kind, labels in table:
        endings = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
        found |= {name + ending: set(re.findall(r"`(\w+)`", labels)) for ending in endings}
    return found


def test_the_dashboard_is_the_one_that_the_code_makes() -> None:
    """`./just dashboard` writes it."""
    assert build() == FILE.read_text(encoding="utf-8")


def test_every_panel_has_a_place_and_a_number_of_its_own() -> None:
    """Three in a line, none over another."""
    panels = json.loads(FILE.read_text(encoding="utf-8"))["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}

    assert len(panels) == len(places) == len({panel["id"] for panel in panels})
    assert sum(len(row.panels) + 1 for row in ROWS) == len(panels)


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_only_metrics_and_labels_that_there_are_get_asked_for(expr: str) -> None:
    """A name that is gone would be an empty panel, or an alert that never comes."""
    known = {**metrics(), "up": set()}
    used = set(re.findall(r"\b(?:sussurro|process)_\w+|\bup\b", re.sub(r'"[^"]*"', "", expr)))
    assert used
    assert used <= known.keys()
    allowed = set().union(*(known[name] for name in used)) | LABELS
    for selector in re.findall(r"\{([^}]*)\}", expr):
        assert set(re.findall(r"(\w+)=", selector)) <= allowed
    for grouped in re.findall(r"(?:by|on|group_left) \(([^)]*)\)", expr):
        assert set(re.findall(r"\w+", grouped)) <= allowed


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_where_to_read_on(rule: dict[str, dict[str, str]]) -> None:
    """One sentence, a severity, and its place in the runbook."""
    assert {"summary", "runbook"} == set(rule["annotations"])
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert f"docs/alerts.md#{str(rule['alert']).lower()}" == rule["annotations"]["runbook"]
