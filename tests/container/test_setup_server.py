"""ops/setup-server.sh on a bare Debian 12: a folder of its own, with the parts that need no GPU."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from private_engine import BASE, OUTER_NETWORK
from stack import ROOT, Built

WITHOUT_GPU = ("packages", "docker_settings", "kernel_settings")
OLD_SETTINGS = {"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}, "live-restore": False}
SOMEBODYS_KEY = """#!/bin/sh
while [ "$1" != --output ]; do shift; done
gpg --batch --quiet --passphrase '' --quick-generate-key nobody >/dev/null 2>&1
gpg --export nobody >"$2"
gpgconf --kill all
"""
"""Stands in for curl: what it fetches is a key, but not Docker's."""


class BareDebian:
    """A root folder of Debian 12, as debootstrap leaves it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, outside: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command in it: without a network of ours to change, or with the machine's."""
        network = (
            ("nsenter", f"--net=/proc/self/fd/{OUTER_NETWORK}") if outside else ("unshare", "--net")
        )
        return subprocess.run(
            [*network, "chroot", str(self.folder), *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            pass_fds=(OUTER_NETWORK,),
        )

    def setup(self, *flags: str, outside: bool = False) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        return self.run("sh", "/setup-server.sh", "--no-gpu", *flags, outside=outside)

    def files(self) -> dict[str, tuple[int, int]]:
        """Every file with its size and time."""
        return {
            str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
            for top in ("etc", "usr", "var", "root", "tmp", "data")
            for path in (self.folder / top).rglob("*")
        }


@pytest.fixture(scope="module")
def bare(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareDebian]:
    """The base image's files, and what a running system has."""
    folder = tmp_path_factory.mktemp("bare")
    container = built.engine.docker("create", BASE, "true").stdout.strip()
    archive = folder.with_suffix(".tar")
    built.engine.docker("export", "--output", str(archive), container)
    built.engine.docker("rm", container)
    subprocess.run(["tar", "-C", folder, "-xf", archive], check=True)
    archive.unlink()
    shutil.copy("/etc/resolv.conf", folder / "etc" / "resolv.conf")
    shutil.copy(ROOT / "ops" / "setup-server.sh", folder)
    mounts = [("-t", "proc", "proc", folder / "proc"), ("--rbind", "/dev", folder / "dev")]
    for mount in mounts:
        subprocess.run(["mount", *map(str, mount)], check=True)
    yield BareDebian(folder)
    for *_, target in reversed(mounts):
        subprocess.run(["umount", "--recursive", "--lazy", str(target)], check=True)
    shutil.rmtree(folder)


def test_a_check_names_what_is_missing_and_changes_nothing(bare: BareDebian) -> None:
    """Exit code 1, every step, no file touched."""
    before = bare.files()
    done = bare.setup("--check")
    assert 1 == done.returncode, done.stderr
    assert ["packages", "docker", "docker_settings", "firewall", "kernel_settings"] == [
        line.split()[1] for line in done.stdout.splitlines() if line.startswith("missing")
    ]
    assert before == bare.files()


def test_a_dry_run_prints_and_changes_nothing(bare: BareDebian) -> None:
    """Commands and files, Coolify's installer included; nothing is fetched or written."""
    before = bare.files()
    done = bare.setup("--dry-run", "--coolify")
    assert 0 == done.returncode, done.stderr
    for line in ("ufw allow 22/tcp", "install --yes", "live-restore", "coolify", "core_pattern"):
        assert line in done.stdout
    assert before == bare.files()


def test_nobody_is_asked_where_nobody_can_answer(bare: BareDebian) -> None:
    """Without a terminal and without --yes it ends before the first change."""
    before = bare.files()
    done = bare.setup()
    assert 2 == done.returncode
    assert "--yes" in done.stderr
    assert before == bare.files()


def test_it_sets_up_once_and_then_leaves_all_alone(bare: BareDebian) -> None:
    """Packages, Docker's settings beside older ones, kernel settings; a second run is idle."""
    settings = bare.folder / "etc" / "docker" / "daemon.json"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(json.dumps(OLD_SETTINGS))
    only = [part for step in WITHOUT_GPU for part in ("--only", step)]

    first = bare.setup("--yes", *only, outside=True)
    assert 0 == first.returncode, first.stdout + first.stderr
    merged = json.loads(settings.read_text())
    assert OLD_SETTINGS["runtimes"] == merged["runtimes"]
    assert ("json-file", True) == (merged["log-driver"], merged["live-restore"])
    before = bare.files()
    second = bare.setup("--yes", *only, outside=True)
    assert [f"ok       {step}" for step in WITHOUT_GPU] == second.stdout.splitlines()
    assert before == bare.files()
    assert 0 == bare.setup("--check", *only).returncode


def test_settings_that_are_no_json_are_left_alone(bare: BareDebian) -> None:
    """The step ends; what somebody wrote is not overwritten."""
    settings = bare.folder / "etc" / "docker" / "daemon.json"
    kept = settings.read_text()
    settings.write_text("{ broken")
    done = bare.setup("--yes", "--only", "docker_settings")
    assert 0 != done.returncode
    assert "{ broken" == settings.read_text()
    settings.write_text(kept)


def test_the_firewall_lets_in_what_is_needed(bare: BareDebian) -> None:
    """SSH and the web, nothing else; in a network of its own, with the real ufw."""
    script = (
        "sh /setup-server.sh --no-gpu --yes --only firewall && "
        "sh /setup-server.sh --no-gpu --check --only firewall && ufw status verbose"
    )
    done = bare.run("sh", "-c", script)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "ok       firewall" in done.stdout
    assert "deny (incoming)" in done.stdout
    allowed = {line.split()[0] for line in done.stdout.splitlines() if "ALLOW IN" in line}
    assert {"22/tcp", "80/tcp", "443/tcp"} == allowed


def test_a_key_of_somebody_else_is_refused(bare: BareDebian) -> None:
    """A repository whose key is not the pinned one is not added."""
    (bare.folder / "usr/local/bin/curl").write_text(SOMEBODYS_KEY)
    (bare.folder / "usr/local/bin/curl").chmod(0o755)
    script = "PATH=/usr/local/bin:$PATH sh /setup-server.sh --no-gpu --yes --only docker"
    done = bare.run("sh", "-c", script)
    assert 2 == done.returncode, done.stdout + done.stderr
    assert "expected 9DC858229FC7DD38854AE2D88D81803C0EBFCD88" in done.stderr
    assert not (bare.folder / "etc/apt/sources.list.d/docker.list").exists()
