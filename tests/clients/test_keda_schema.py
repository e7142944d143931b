"""KEDA's own schema allows the example for it; Kubernetes' files are in tests/architecture."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from node_sdk import run_node
from server_process import ROOT

SCRIPT = """
const { createRequire } = require("node:module");
const here = createRequire(process.cwd() + "/");
const { ScaledObject } = here("@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject");
try {
  new ScaledObject(JSON.parse(require("node:fs").readFileSync(0, "utf8"))).validate();
  console.log("valid");
} catch (error) {
  console.log(error.message);
}
"""


def verdict(document: dict[str, Any]) -> str:
    """`valid`, or what is wrong."""
    return run_node("-e", SCRIPT, stdin=json.dumps(document)).strip()


def example() -> dict[str, Any]:
    """The file."""
    text = (ROOT / "ops" / "kubernetes" / "keda.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def test_keda_would_take_it() -> None:
    """As it stands there."""
    assert "valid" == verdict(example())


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec.pop("scaleTargetRef"),
        lambda spec: spec.update(minReplicaCount="two"),
        lambda spec: spec["triggers"][0]["metadata"].update(threshold=1920),
        lambda spec: spec["triggers"][0].pop("type"),
    ],
)
def test_its_schema_bites(change: Callable[[dict[str, Any]], object]) -> None:
    """A field that is missing or of another kind is noticed."""
    document = copy.deepcopy(example())
    change(document["spec"])
    assert "valid" != verdict(document)
