"""Debian's own programs without installing them: fetched, unpacked into `.cache/observe`, run.

Nothing needs root. What a program needs beyond the packages named here, Debian's base has.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "observe"

PACKAGES: Mapping[str, Sequence[str]] = {
    "prometheus": ("prometheus",),
    "syslog-ng": (
        *("syslog-ng-core", "syslog-ng-mod-http", "libivykis0", "libnet1", "libwrap0"),
        *("libpcre3", "libelogind0"),
    ),
    "rsyslog": ("rsyslog", "libestr0", "libfastjson4", "liblognorm5"),
    "clickhouse": (
        *("clickhouse-server", "clickhouse-common", "libcapnp-0.9.2", "libcctz2", "libcpuinfo0"),
        *("libdouble-conversion3", "libfarmhash0", "libjemalloc2", "libltdl7", "libmariadb3"),
        *("libmetrohash1", "libodbc2", "libpcre3", "libpococrypto80", "libpocodata80"),
        *("libpocodataodbc80", "libpocofoundation80", "libpocojson80", "libpocomongodb80"),
        *("libpoconet80", "libpoconetssl80", "libpocoutil80", "libpocoxml80", "librdkafka1"),
        *("libre2-9",),
    ),
}
"""What is fetched for each of them, on Debian 12."""


def unpacked(name: str) -> Path:
    """The root folder in which a program's packages lie; fetched the first time."""
    folder = CACHE / name
    if not (folder / "complete").is_file():
        if not shutil.which("apt-get") or not shutil.which("dpkg"):
            pytest.fail(f"{name} comes from Debian's packages: this needs apt-get and dpkg")
        shutil.rmtree(folder, ignore_errors=True)
        packages = folder / "packages"
        packages.mkdir(parents=True)
        subprocess.run(
            ["apt-get", "download", "-q", *PACKAGES[name]],
            cwd=packages,
            check=True,
            capture_output=True,
        )
        for package in packages.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, folder / "root"], check=True)
        shutil.rmtree(packages)
        (folder / "complete").touch()
    return folder / "root"


def environ(root: Path) -> dict[str, str]:
    """For a program in this root: its libraries are there."""
    library = root / "usr" / "lib"
    places = [
        library,
        *library.glob("*-linux-gnu"),
        *root.glob("lib/*-linux-gnu"),
        library / "syslog-ng",
    ]
    return {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": ":".join(map(str, places))}


def free_port() -> int:
    """One that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(true: Callable[[], bool], what: str, within: float = 30.0) -> None:
    """Wait for it, or fail."""
    end = time.monotonic() + within
    while not true():
        if time.monotonic() > end:
            pytest.fail(f"not within {within} s: {what}")
        time.sleep(0.1)


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], root: Path, log: Path, **options: object
) -> Iterator["subprocess.Popen[bytes]"]:
    """A program, until the end of the block."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            list(map(str, command)),
            env=environ(root),
            stdout=out,
            stderr=out,
            **options,  # type: ignore[call-overload]
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
