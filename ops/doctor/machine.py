"""What the server needs from the machine: Python, memory, disk, sandbox, spool folder, port.

Knows: how each is measured.
Must not know: models, engines, keys.
"""

import asyncio
import http.client
import platform
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ops.finding import Finding, failed, note, ok
from server.audio.loader import Loader, SandboxUnavailable
from server.http.listener import listen
from server.settings import Settings
from server.types import SAMPLE_RATE

OPEN_FILES = 1_024
"""Each request has a connection, a spool file and its samples."""

BYTES_PER_SAMPLE = 2
PROBE_TIMEOUT = 3.0
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def machine(settings: Settings) -> Iterator[Finding]:
    """All of it."""
    yield ok("python", f"{platform.python_version()} on {platform.machine()}")
    yield _open_files()
    yield _sandbox(settings)
    yield _spool(settings)
    yield _port(settings)


def _open_files() -> Finding:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < OPEN_FILES:
        todo = f"raise it: `ulimit -n {OPEN_FILES}`, or LimitNOFILE / ulimits of its supervisor"
        return note("open files", f"at most {limit}", todo)
    return ok("open files", f"at most {limit}")


def _sandbox(settings: Settings) -> Finding:
    """Start the media process and let it prove its layers, as the server does."""
    try:
        missing = asyncio.run(_missing_layers(settings))
    except SandboxUnavailable as error:
        return failed("sandbox", str(error), "docs/security.md has what each layer needs")
    except OSError as error:
        return failed("sandbox", f"{error.strerror}", "see the check of the spool folder")
    if not missing:
        return ok("sandbox", "all layers work")
    found = f"missing: {', '.join(missing)}"
    if settings.sandbox == "required":
        todo = (
            "use a kernel (5.13 or newer, with Landlock) and a container profile that allow them, "
            "or accept less with SUSSURRO_SANDBOX=available (docs/security.md)"
        )
        return failed("sandbox", found, todo)
    return note("sandbox", found, "media is decoded with the layers that are there")


async def _missing_layers(settings: Settings) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory() as spool:
        loader = Loader(
            spool_dir=Path(spool),
            max_audio_seconds=settings.max_audio_seconds,
            load_timeout=settings.load_timeout,
            max_loads=1,
            sandbox="available",
        )
        try:
            return await loader.start()
        finally:
            await loader.close()


def _spool(settings: Settings) -> Finding:
    folder = settings.spool_dir
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        todo = "make it a folder that the server can write to, or set SUSSURRO_SPOOL_DIR"
        return failed("spool", f"{folder}: {error.strerror}", todo)
    room = shutil.disk_usage(folder).free
    audio = int(settings.max_audio_seconds) * SAMPLE_RATE * BYTES_PER_SAMPLE
    need = settings.max_upload_bytes + audio
    found = f"{folder} has room for {room / 1e9:.1f} GB"
    if room < need:
        todo = (
            f"the largest upload and its samples take {need / 1e9:.1f} GB: make room, or lower "
            "SUSSURRO_MAX_UPLOAD_BYTES and SUSSURRO_MAX_AUDIO_SECONDS"
        )
        return note("spool", found, todo)
    return ok("spool", found)


def _port(settings: Settings) -> Finding:
    place = f"{settings.host}, port {settings.port}"
    try:
        listen(settings.host, settings.port).close()
    except PermissionError:
        return failed("port", f"{place}: not allowed", "take a port of 1024 or above")
    except OSError as error:
        if _is_ours(settings):
            return ok("port", f"{place}: a Sussurro answers there")
        todo = "stop what listens there, or set SUSSURRO_PORT and SUSSURRO_HOST"
        return failed("port", f"{place}: {error.strerror}", todo)
    return ok("port", f"{place} is free")


def _is_ours(settings: Settings) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  compared
    connection = http.client.HTTPConnection(host, settings.port, timeout=PROBE_TIMEOUT)
    try:
        connection.request("GET", "/")
        return b'"sussurro"' in connection.getresponse().read(4096)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def available_memory_bytes() -> int:
    """What a process may still take: the machine's, or less where a cgroup has a limit."""
    fields = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
    free = int(fields["MemAvailable"].split()[0]) << 10
    try:
        limit = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):  # no such limit: the file is missing, or says `max`
        return free
    return min(free, limit - used)
