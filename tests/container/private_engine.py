"""A Docker engine for the tests alone: its own folder, socket and network."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

OUTER_NETWORK = 9
"""The descriptor of the machine's own network namespace, opened by run.sh."""
# Beside the engine from Debian lies a client that fits; another one on the path may want plugins.
CLIENT = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
HYBRID = Path("/sys/fs/cgroup/unified")
START_SECONDS = 60.0
STOP_SECONDS = 60.0


class Engine:
    """One data folder; started without a network to build, with one to run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "socket"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        if HYBRID.is_mount():  # cgroup v1 with v2 beside it: the engine is told of v1 alone
            subprocess.run(["umount", str(HYBRID)], check=True)

    def start(self, *, outside: bool) -> None:
        """Start it: `outside` in the machine's network, of which nothing is changed, to build."""
        options = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]
        enter = ["nsenter", f"--net=/proc/self/fd/{OUTER_NETWORK}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(enter if outside else []),
                    "dockerd",
                    *(options if outside else ["--bip=10.201.0.1/24"]),
                    f"--data-root={self.folder / 'data'}",
                    f"--exec-root={self.folder / 'exec'}",
                    f"--pidfile={self.folder / 'pid'}",
                    f"--host=unix://{self.socket}",
                    "--exec-opt=native.cgroupdriver=cgroupfs",
                    "--default-ulimit=nofile=4096:4096",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(OUTER_NETWORK,),
            )
        end = time.monotonic() + START_SECONDS
        while self.docker("version", check=False).returncode != 0:
            assert self._process.poll() is None, (self.folder / "log").read_text()[-3_000:]
            assert time.monotonic() < end, "the engine does not start"
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop it, and containers with it; what was built stays in its folder."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(STOP_SECONDS)
            self._process = None

    @property
    def environ(self) -> dict[str, str]:
        """For clients of this engine."""
        return {**os.environ, "DOCKER_HOST": f"unix://{self.socket}", "DOCKER_BUILDKIT": "1"}

    def docker(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The client; `check` fails the test with what it said."""
        done = subprocess.run(
            [CLIENT, *arguments], env=self.environ, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f"docker {arguments}: {done.stdout}{done.stderr}"
        return done

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine knows of a container or an image."""
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", name).stdout)
        return found[0]

    def remove_containers(self) -> None:
        """Containers, networks and volumes of an earlier run; images stay as a cache."""
        if left := self.docker("ps", "--all", "--quiet").stdout.split():
            self.docker("rm", "--force", "--volumes", *left)
        self.docker("network", "prune", "--force")
        self.docker("volume", "prune", "--force")


def import_folder(engine: Engine, folder: Path, name: str, *changes: str) -> None:
    """Make an image of a folder, without the hub."""
    flags = [part for change in changes for part in ("--change", change)]
    with subprocess.Popen(["tar", "-C", str(folder), "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(
            [CLIENT, "import", *flags, "-", name],
            env=engine.environ,
            stdin=tar.stdout,
            stdout=subprocess.DEVNULL,
            check=True,
        )
    assert tar.returncode == 0


BASE = "sussurro-test-base:bookworm"
PACKAGES = "ca-certificates,python3,python3-venv"
BULK = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")


def import_base(engine: Engine, folder: Path) -> None:
    """The base image: Debian 12 with Python, from Debian's packages alone.

    It trusts whom this machine trusts, for an index may be behind an authority of its own. Images
    for others are built on an official base, which does not know that one.
    """
    if engine.docker("image", "inspect", BASE, check=False).returncode == 0:
        return
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(
        [
            *("nsenter", f"--net=/proc/self/fd/{OUTER_NETWORK}"),
            *("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(folder)),
        ],
        pass_fds=(OUTER_NETWORK,),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    for name in BULK:
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    bundle = "etc/ssl/certs/ca-certificates.crt"
    shutil.copyfile(Path("/") / bundle, folder / bundle)
    import_folder(engine, folder, BASE)
    shutil.rmtree(folder)


GPU_BASE = "sussurro-test-gpu-base:bookworm"
GPU_DOCKERFILE = f"""FROM {BASE}
RUN apt-get update && apt-get install --yes --no-install-recommends python3-pip python3-numpy
"""


def build_gpu_base(engine: Engine, folder: Path) -> None:
    """What stands in for TensorRT-LLM's image: Python with pip and a NumPy of its own, no more."""
    if engine.docker("image", "inspect", GPU_BASE, check=False).returncode == 0:
        return
    (folder / "Dockerfile").write_text(GPU_DOCKERFILE)
    engine.docker("build", "--network=host", f"--tag={GPU_BASE}", str(folder))


def build(
    engine: Engine, context: Path, *flags: str, dockerfile: str = "Dockerfile.runtime"
) -> subprocess.CompletedProcess[str]:
    """Build one of our Dockerfiles on the bases above."""
    bases = (f"--build-arg=BASE_IMAGE={BASE}", f"--build-arg=GPU_BASE_IMAGE={GPU_BASE}")
    return engine.docker(
        *("build", "--network=host", "--progress=plain", *bases),
        *("--file", str(context / dockerfile), *flags, str(context)),
        check=False,
    )


REDIS = "sussurro-test-redis:bookworm"
REDIS_DOCKERFILE = f"""FROM {BASE}
RUN apt-get update && apt-get install --yes --no-install-recommends redis-server \\
    && mkdir /data && chown 999:999 /data
"""


def build_redis(engine: Engine, folder: Path) -> None:
    """Debian's Redis, with a folder that belongs to the user of the official image."""
    if engine.docker("image", "inspect", REDIS, check=False).returncode == 0:
        return
    (folder / "Dockerfile").write_text(REDIS_DOCKERFILE)
    engine.docker("build", "--network=host", f"--tag={REDIS}", str(folder))
