"""Images and compose files: pinned, without root, without a writable root; the gates bite."""

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = ("Dockerfile.build", "Dockerfile.runtime")
BIN = Path(sys.executable).parent
Compose = dict[str, Any]


def final_stages(text: str) -> dict[str, str]:
    """The stages that become images: those that no other stage only copies from."""
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    named = {
        (re.search(r"\sAS (\S+)", stage.splitlines()[0]) or ["", ""])[1]: stage for stage in stages
    }
    copied = set(re.findall(r"--from=(\S+)", text))
    return {name: stage for name, stage in named.items() if name not in copied}


def problems_of_dockerfile(text: str) -> list[str]:
    """What is wrong with a Dockerfile, by our rules."""
    found = [
        f"base image without a version: {default}"
        for default in re.findall(r"^ARG \w*BASE_IMAGE=(\S+)$", text, re.MULTILINE)
        if not re.search(r":\d[\w.-]*(@sha256:[0-9a-f]{64})?$", default)
    ]
    joined = text.replace("\\\n", " ")
    for line in re.findall(r"^RUN .*\binstall\b.*$", joined, re.MULTILINE):
        flags = ("--require-hashes", "--only-binary :all:", "--no-deps")
        found += [f"an install without {flag}" for flag in flags if flag not in line]
        found += ["an install from elsewhere"] * bool(re.search(r"apt|apk |curl |wget ", line))
    if re.search(r"^ADD |^# syntax=", text, re.MULTILINE):
        found.append("something is fetched without a hash")
    for name, stage in final_stages(text).items():
        users = re.findall(r"^USER (\S+)", stage, re.MULTILINE)
        if not users or not re.fullmatch(r"[1-9]\d{4,}:[1-9]\d{4,}", users[-1]):
            found.append(f"{name}: runs as {users[-1:] or 'root'}")
        needed = ("STOPSIGNAL SIGTERM", "HEALTHCHECK ", "org.opencontainers.image.licenses")
        found += [f"{name}: lacks {line}" for line in needed if line not in stage]
    return found


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfiles_keep_the_rules(name: str) -> None:
    """Versions, hashes, user, signal, health check, labels."""
    assert [] == problems_of_dockerfile((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("USER 10001:10001", "USER root"),
        ("USER 10001:10001\n", ""),
        ("--require-hashes ", ""),
        ("--no-deps ", ""),
        ("release:1.2.1", "release:latest"),
        ("STOPSIGNAL SIGTERM\n", ""),
        ("WORKDIR /build\n", "WORKDIR /build\nADD https://x.test/y /y\n"),
    ],
)
@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_rules_for_dockerfiles_bite(name: str, wrong: str, right: str) -> None:
    """One changed line is noticed."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert wrong in text
    assert [] != problems_of_dockerfile(text.replace(wrong, right))


def problems_of_compose(compose: Compose) -> list[str]:
    """What is wrong with a compose file, by our rules."""
    found = []
    for name, service in compose["services"].items():
        options = service.get("security_opt", [])
        tmpfs = service.get("tmpfs", [])
        for rule, kept in (
            ("read_only", service.get("read_only") is True),
            ("cap_drop", service.get("cap_drop") == ["ALL"] and not service.get("cap_add")),
            ("no-new-privileges", "no-new-privileges:true" in options),
            ("seccomp", "image" in service or "seccomp=./ops/container/seccomp.json" in options),
            ("pids_limit", service.get("pids_limit", 0) > 0),
            ("mem_limit", bool(service.get("mem_limit"))),
            ("log rotation", bool(service.get("logging", {}).get("options", {}).get("max-size"))),
            ("user", service.get("user", "10001").split(":")[0] not in ("0", "root")),
            ("privileged", not service.get("privileged")),
            ("container_name", "container_name" not in service),
            ("ports", "ports" not in service),
            ("image", "image" not in service or bool(re.search(r":v?\d", service["image"]))),
            ("network", service.get("networks") in (["inside"], ["outside"])),
            ("host namespaces", not {"pid", "ipc", "network_mode"} & set(service)),
            ("mounts", all(not v.startswith(("/", "~", ".")) for v in service.get("volumes", []))),
            ("tmpfs", all({"nosuid", "nodev"} <= set(re.split("[,:]", t)) for t in tmpfs)),
        ):
            if not kept:
                found.append(f"{name}: {rule}")
    if compose["networks"]["inside"].get("internal") is not True:
        found.append("the inner network leads out")
    return found


@pytest.fixture(scope="module")
def compose() -> Compose:
    """compose.yaml, anchors resolved."""
    content: Compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return content


def test_services_keep_the_rules(compose: Compose) -> None:
    """Read-only, without privileges, bounded, rotated, on the inner network."""
    assert [] == problems_of_compose(compose)
    assert {"server", "server-gpu", "server-gpu-2", "engine-build", "redis", "weights"} == set(
        compose["services"]
    )


def _set(**changes: object) -> Callable[[Compose], None]:
    return lambda compose: compose["services"]["server"].update(changes)


@pytest.mark.parametrize(
    "change",
    [
        _set(read_only=False),
        _set(user="0:0"),
        _set(cap_add=["SYS_ADMIN"]),
        _set(privileged=True),
        _set(security_opt=["no-new-privileges:true", "seccomp=unconfined"]),
        _set(volumes=["/var/run/docker.sock:/var/run/docker.sock"]),
        _set(tmpfs=["/tmp:rw,exec"]),
        _set(ports=["9005:9005"]),
        _set(container_name="server"),
        _set(mem_limit=None),
        _set(image="${IMAGE:-server:latest}"),
        lambda compose: compose["networks"]["inside"].update(internal=False),
    ],
)
def test_the_rules_for_services_bite(compose: Compose, change: Callable[[Compose], None]) -> None:
    """One changed line is noticed."""
    changed = copy.deepcopy(compose)
    change(changed)
    assert [] != problems_of_compose(changed)


def test_gpu_services_reserve_their_card(compose: Compose) -> None:
    """By id, so that two servers do not share one."""
    ids = {
        name: service["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"]
        for name, service in compose["services"].items()
        if "deploy" in service
    }
    assert {
        "server-gpu": ["${GPU_DEVICE:-0}"],
        "server-gpu-2": ["${GPU_DEVICE_2:-1}"],
        "engine-build": ["${GPU_DEVICE:-0}"],
    } == ids


def test_servers_read_what_one_shot_services_build(compose: Compose) -> None:
    """Weights and engines for both processors, read-only; what a server writes is one volume."""
    expected = ["weights:/weights:ro", "engines:/engines:ro", "state:/state"]
    for name in ("server", "server-gpu", "server-gpu-2"):
        assert expected == compose["services"][name]["volumes"]
    for name in ("weights", "engine-build"):
        assert ["weights:/weights", "engines:/engines"] == compose["services"][name]["volumes"]
    dockerfile = (ROOT / "Dockerfile.runtime").read_text(encoding="utf-8")
    for stage in (each for name, each in final_stages(dockerfile).items() if name):
        assert "SUSSURRO_ENGINES_DIR=/engines" in stage
        for folder in ("weights", "engines", "state"):
            assert f"--chown=10001:10001 /empty /{folder}\n" in stage


def test_two_servers_count_together_and_redis_forgets_nothing(compose: Compose) -> None:
    """The overlay names their number and their Redis, and starts it; it writes down its counts."""
    overlay = yaml.safe_load((ROOT / "compose.replicas.yaml").read_text(encoding="utf-8"))
    servers = ("server", "server-gpu", "server-gpu-2")
    for name in servers:
        settings = overlay["services"][name]["environment"]
        assert {"SUSSURRO_REPLICAS", "SUSSURRO_REDIS_URL"} == set(settings)
    profiles = {each for name in servers for each in compose["services"][name]["profiles"]}
    assert profiles == set(overlay["services"]["redis"]["profiles"])
    redis = compose["services"]["redis"]
    assert ["redis:/data"] == redis["volumes"]
    command = redis["command"]
    assert "yes" == command[command.index("--appendonly") + 1]


def test_a_clusters_containers_are_as_hard_and_need_a_token(compose: Compose) -> None:
    """The overlay opens nothing: workers keep every rule, and Ray's token is a secret file."""
    overlay = yaml.safe_load((ROOT / "compose.ray.yaml").read_text(encoding="utf-8"))
    worker, server = overlay["services"]["ray-worker"], overlay["services"]["server"]
    workers = {"services": {"ray-worker": worker}, "networks": compose["networks"]}
    assert [] == problems_of_compose(workers)
    assert [] != problems_of_compose({**workers, "services": {"x": {**worker, "ports": ["1:1"]}}})
    assert {"build", "command", "environment", "secrets", "shm_size"} == set(server)
    dockerfile = (ROOT / "Dockerfile.runtime").read_text(encoding="utf-8")
    assert "\nARG PACKAGES=postgres\nCOPY requirements/${PACKAGES}.txt " in dockerfile
    for service in (worker, server):
        assert "cpu" == service["build"]["target"]
        packages = service["build"]["args"]["PACKAGES"]
        assert (ROOT / "requirements" / f"{packages}.txt").is_file()
        environment = service["environment"]
        assert "token" == environment["RAY_AUTH_MODE"]
        (secret,) = service["secrets"]
        assert f"/run/secrets/{secret}" == environment["RAY_AUTH_TOKEN_PATH"]
        assert "file" in overlay["secrets"][secret]
        assert "0" == environment["RAY_USAGE_STATS_ENABLED"]
    assert "--include-dashboard=false" in server["command"][-1]
    assert "--num-cpus=0" in server["command"][-1]


@pytest.mark.parametrize("page", ["deploy-debian.md", "deploy-debian.pt-BR.md"])
def test_what_can_be_set_in_compose_files_is_documented(page: str) -> None:
    """Every variable of every compose file, in both languages."""
    files = "".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("compose*.yaml")))
    variables = set(re.findall(r"\$\{(\w+)", files))
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert {"DOMAIN", "SUSSURRO_USAGE_DB"} <= variables
    assert set() == {
        name for name in variables if f"`{name}`" not in text and f"{name}=" not in text
    }


def test_the_seccomp_profile_is_an_allow_list() -> None:
    """What it does not name fails; what breaks out of containers is not named."""
    profile = json.loads((ROOT / "ops/container/seccomp.json").read_text(encoding="utf-8"))
    assert "SCMP_ACT_ERRNO" == profile["defaultAction"]
    plain, guarded = set(), set()
    for rule in profile["syscalls"]:
        if rule["action"] == "SCMP_ACT_ALLOW":
            (guarded if "args" in rule else plain).update(rule["names"])
    assert {"socket", "clone", "ioctl"} == guarded
    assert set() == guarded & plain
    dangerous = (
        "ptrace process_vm_readv process_vm_writev mount umount2 pivot_root chroot setns unshare "
        "clone3 bpf perf_event_open userfaultfd keyctl add_key request_key init_module "
        "finit_module kexec_load open_by_handle_at name_to_handle_at io_uring_setup personality "
        "setuid setgid setgroups capset mknod mknodat modify_ldt swapon reboot syslog"
    )
    assert set() == set(dangerous.split()) & plain


def test_health_checks_leave_the_script_time(compose: Compose) -> None:
    """The engine's timeout is longer than the script's own, so that the reason is printed."""
    text = (ROOT / "Dockerfile.runtime").read_text(encoding="utf-8")
    script = (ROOT / "ops" / "container" / "healthcheck.py").read_text(encoding="utf-8")
    own = float((re.search(r"TIMEOUT_SECONDS = ([\d.]+)", script) or ["", "0"])[1])
    timeouts = re.findall(r"--timeout=(\d+)s", text)
    assert 2 == len(timeouts)
    assert all(own < float(timeout) for timeout in timeouts)


def test_the_sbom_names_every_pin_with_its_hashes(tmp_path: Path) -> None:
    """What `./just sbom` writes is what the image installs."""
    out = tmp_path / "sbom.json"
    pins = ROOT / "requirements" / "postgres.txt"
    subprocess.run(
        [BIN / "cyclonedx-py", "requirements", pins, "--no-validate", "-o", out], check=True
    )
    listed = {
        (part["name"], part["version"]): sum(
            len(reference.get("hashes", [])) for reference in part["externalReferences"]
        )
        for part in json.loads(out.read_text())["components"]
    }
    text = pins.read_text(encoding="utf-8")
    pinned = {
        (match[1], match[2]): match[0].count("--hash=")
        for match in re.finditer(r"^(\S+?)==([^\s;]+)(?:.*\\\n)(?: .*\n?)+", text, re.MULTILINE)
    }
    assert pinned == listed


def test_the_linters_bite(tmp_path: Path) -> None:
    """hadolint, shellcheck and the Compose schema each refuse a wrong file."""
    dockerfile, script, compose = (tmp_path / n for n in ("Dockerfile", "x.sh", "compose.yaml"))
    dockerfile.write_text("FROM debian\nRUN cd /tmp && sudo apt-get install x\n")
    script.write_text("#!/bin/sh\nrm -rf $1/*\n")
    compose.write_text("services: {server: {imagee: x}}\n")
    for command in (
        [BIN / "hadolint", dockerfile],
        [BIN / "shellcheck", script],
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", compose],
    ):
        assert 1 == subprocess.run(command, capture_output=True, check=False).returncode, command
