"""The example for Kubernetes: valid by Kubernetes' own schemas, and by our rules, which bite."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from server.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "ops" / "kubernetes"
VERSIONS = ("1.30", "1.34", "1.37")
MODELS = ("WEIGHTS", "ENGINES")
Document = dict[str, Any]


def documents() -> list[Document]:
    """All of them but KEDA's, whose schema is not Kubernetes' (tests/clients)."""
    found = [
        document
        for path in sorted(FOLDER.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]
    return [document for document in found if not document["apiVersion"].startswith("keda")]


def of_kind(kind: str) -> list[Document]:
    """Those."""
    return [document for document in documents() if document["kind"] == kind]


def pods() -> dict[str, Document]:
    """What each Deployment and Job starts."""
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in of_kind("Deployment") + of_kind("Job")
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_would_take_them(version: str) -> None:
    """Strictly: a word that it does not know is refused."""
    assert len(documents()) >= 9
    for document in documents():
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("place", [("spec",), ("spec", "template", "spec")])
def test_the_schemas_bite(place: tuple[str, ...]) -> None:
    """A misspelt field anywhere is noticed."""
    document = copy.deepcopy(of_kind("Deployment")[0])
    inner = document
    for step in place:
        inner = inner[step]
    inner["terminationGraceSeconds"] = 5
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)


def problems_of_pod(pod: Document) -> list[str]:
    """What is wrong with it, by the rules that the compose files keep."""
    context = pod.get("securityContext", {})
    (container,) = pod["containers"]
    own = container.get("securityContext", {})
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    kept = {
        "user": context.get("runAsNonRoot") is True and context.get("runAsUser", 0) >= 10_000,
        "seccomp": context.get("seccompProfile", {}).get("type") in {"RuntimeDefault", "Localhost"},
        "token": pod.get("automountServiceAccountToken") is False,
        "service links": pod.get("enableServiceLinks") is False,
        "read-only": own.get("readOnlyRootFilesystem") is True,
        "escalation": own.get("allowPrivilegeEscalation") is False,
        "capabilities": own.get("capabilities") == {"drop": ["ALL"]},
        "memory": "memory" in container["resources"].get("limits", {}),
        "image": bool(re.search(r":\d+\.\d+\.\d+$", container["image"])),
        "volumes": set(mounts) == {volume["name"] for volume in pod["volumes"]},
        "host": not any("hostPath" in volume for volume in pod["volumes"]),
    }
    return [rule for rule, holds in kept.items() if not holds]


def problems_of_server(pod: Document) -> list[str]:
    """And what a server needs besides."""
    (container,) = pod["containers"]
    settings = config()
    drain = float(settings["SUSSURRO_DRAIN_GRACE"]) + float(settings["SUSSURRO_DRAIN_TIMEOUT"])
    readiness, start = container.get("readinessProbe", {}), container.get("startupProbe", {})
    kept = {
        "grace": pod.get("terminationGracePeriodSeconds", 30) >= drain + 10,
        "readiness": _path(readiness) == "/readyz" and readiness.get("failureThreshold") == 1,
        "noticed in time": readiness.get("periodSeconds", 10) * 2
        <= float(settings["SUSSURRO_DRAIN_GRACE"]),
        "start": _path(start) == "/readyz"
        and start.get("periodSeconds", 10) * start.get("failureThreshold", 3) >= 300,
        "liveness": _path(container.get("livenessProbe", {})) == "/healthz",
        "models are only read": all(
            mount.get("readOnly") is True
            for mount in container["volumeMounts"]
            if mount["name"] == "models"
        ),
    }
    return problems_of_pod(pod) + [rule for rule, holds in kept.items() if not holds]


def _path(probe: Document) -> object:
    return probe.get("httpGet", {}).get("path")


def config() -> dict[str, str]:
    """The settings that all servers share."""
    (found,) = of_kind("ConfigMap")
    return dict(found["data"])


def servers() -> dict[str, Document]:
    """The Pods of servers."""
    return {name: pods()[name] for name in ("sussurro-cpu", "sussurro-gpu")}


def test_pods_keep_the_rules() -> None:
    """Not root, nothing writable but what is mounted, no token, nothing of the host."""
    assert {} == {name: found for name, pod in pods().items() if (found := problems_of_pod(pod))}
    assert {} == {
        name: found for name, pod in servers().items() if (found := problems_of_server(pod))
    }


def without(*path: str) -> Callable[[Document], object]:
    """Take a field out."""

    def change(pod: Document) -> object:
        for step in path[:-1]:
            pod = pod["containers"][0] if step == "container" else pod[step]
        return pod.pop(path[-1])

    return change


@pytest.mark.parametrize(
    "change",
    [
        without("securityContext", "runAsNonRoot"),
        without("securityContext", "seccompProfile"),
        without("automountServiceAccountToken"),
        without("enableServiceLinks"),
        without("terminationGracePeriodSeconds"),
        without("container", "securityContext"),
        without("container", "readinessProbe"),
        without("container", "startupProbe"),
        without("container", "livenessProbe"),
        without("container", "resources", "limits"),
        lambda pod: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
        lambda pod: pod["containers"][0].update(image="sussurro-server"),
        lambda pod: pod["containers"][0]["volumeMounts"][0].pop("readOnly"),
        lambda pod: pod["containers"][0]["readinessProbe"].update(periodSeconds=10),
    ],
)
def test_the_rules_bite(change: Callable[[Document], object]) -> None:
    """One changed field is noticed."""
    pod = copy.deepcopy(servers()["sussurro-cpu"])
    change(pod)
    assert [] != problems_of_server(pod)


@pytest.mark.parametrize("name", ["sussurro-cpu", "sussurro-gpu"])
def test_a_server_takes_the_settings(name: str) -> None:
    """Those in the files, with the secrets that a person makes."""
    own = {each["name"]: each["value"] for each in servers()[name]["containers"][0]["env"]}
    secret = {
        "SUSSURRO_API_KEYS": f"n8n:sha256:{'0' * 64}",
        "SUSSURRO_DATABASE_URL": "postgresql://sussurro@postgres/sussurro",
        "SUSSURRO_REDIS_URL": "redis://redis:6379",
    }
    settings = Settings.from_env({**config(), **own, **secret})
    assert settings.jobs_dir is not None


def test_names_lead_somewhere() -> None:
    """Selectors, claims, ports, and what KEDA counts."""
    claims = {each["metadata"]["name"] for each in of_kind("PersistentVolumeClaim")}
    for pod in pods().values():
        (container,) = pod["containers"]
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {"configMapRef": {"name": "sussurro"}} in container["envFrom"]
        assert {str(Path(config()[f"SUSSURRO_{name}_DIR"]).parent) for name in MODELS} <= mounted
        named = [v["persistentVolumeClaim"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
        assert claims >= {each["claimName"] for each in named}
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in of_kind("Deployment")]
    for deployment in of_kind("Deployment"):
        wanted = deployment["spec"]["selector"]["matchLabels"].items()
        assert [True] == [wanted <= each.items() for each in labels if wanted <= each.items()]
    (service,) = of_kind("Service")
    assert all(service["spec"]["selector"].items() <= each.items() for each in labels)

    for deployment in of_kind("Deployment"):
        template = deployment["spec"]["template"]
        ports = {each["containerPort"] for each in template["spec"]["containers"][0]["ports"]}
        scraped = template["metadata"]["annotations"]["prometheus.io/port"]
        assert scraped == config()["SUSSURRO_METRICS_PORT"]
        assert int(scraped) in ports

    keda = yaml.safe_load((FOLDER / "keda.yaml").read_text(encoding="utf-8"))["spec"]
    metrics = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    names = {each["metadata"]["name"] for each in of_kind("Deployment")}
    query = keda["triggers"][0]["metadata"]["query"]
    assert keda["scaleTargetRef"]["name"] in names
    assert all(f"`{metric}`" in metrics for metric in re.findall(r"sussurro_\w+", query))
    assert str(keda["maxReplicaCount"]) == config()["SUSSURRO_REPLICAS"]
