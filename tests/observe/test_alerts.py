"""The alert rules in Prometheus' own tool: each one fires, and each one stays silent."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from alert_cases import CASES
from programs import ROOT, environ, unpacked

FOLDER = ROOT / "ops" / "prometheus"
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]


def promtool(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Debian's promtool."""
    root = unpacked("prometheus")
    return subprocess.run(
        [root / "usr/bin/promtool", *arguments],
        env=environ(root),
        capture_output=True,
        text=True,
        check=False,
    )


def unit(series: list[tuple[str, str]], alert: str, minutes: list[int], firing: int) -> Any:
    """One test in promtool's form: how many of this alert fire at each of these minutes."""
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": "{}", "value": firing}],
            }
            for minute in minutes
        ],
    }


def judged(folder: Path, tests: list[Any]) -> "subprocess.CompletedProcess[str]":
    """What promtool says of these tests on our rules."""
    file = folder / "tests.yaml"
    rules = [str(FOLDER / "alerts.yaml")]
    file.write_text(
        yaml.safe_dump({"rule_files": rules, "evaluation_interval": "1m", "tests": tests})
    )
    return promtool("test", "rules", file)


def test_every_alert_has_its_cases() -> None:
    """One that fires, and at least one that does not."""
    assert [rule["alert"] for rule in RULES] == list(CASES)
    assert all(case.silent for case in CASES.values())


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires(tmp_path: Path, alert: str) -> None:
    """Once, and not at once where it has to last."""
    case = CASES[alert]
    tests = [unit(case.fires, alert, [case.minute], 1), unit(case.fires, alert, [0], 0)]
    done = judged(tmp_path, tests)

    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_stays_silent(tmp_path: Path, alert: str) -> None:
    """At every minute, though something near is wrong."""
    case = CASES[alert]
    minutes = list(range(case.minute + 15))
    done = judged(tmp_path, [unit(silent, alert, minutes, 0) for silent in case.silent])

    assert 0 == done.returncode, done.stdout + done.stderr


def test_promtool_would_say_so_if_one_did_not_fire(tmp_path: Path) -> None:
    """The check can fail."""
    done = judged(tmp_path, [unit([("up", "1x10")], "SussurroDown", [5], 1)])

    assert 0 != done.returncode


def test_rules_and_configuration_are_well_formed(tmp_path: Path) -> None:
    """As Prometheus itself reads them."""
    for name in ("alerts.yaml", "prometheus.yaml"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    (tmp_path / "sussurro.key").write_text("wsk_x")

    rules = promtool("check", "rules", tmp_path / "alerts.yaml")
    config = promtool("check", "config", tmp_path / "prometheus.yaml")
    assert (0, 0) == (rules.returncode, config.returncode), rules.stderr + config.stderr
    assert f"{len(RULES)} rules found" in rules.stdout
