"""The manifest of a freshly built engine: what it is, and the hash of every file.

Knows: what the build knows by its end.
Must not know: how a manifest is checked (`server/engines/manifest.py`, which has its fields).
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from engine_build.checkpoint import sha256_of
from engine_build.compile import flags
from engine_build.plan import Plan
from server.engines.device import Device
from server.engines.manifest import ADAPTER, NAME, BuiltFile, GateResult, Manifest

Clock = Callable[[], datetime]


def now() -> datetime:
    """The clock that a build uses outside of tests."""
    return datetime.now(UTC)


def write(  # noqa: PLR0913 - everything that a build knows
    folder: Path,
    plan: Plan,
    device: Device,
    *,
    versions: Mapping[str, str],
    weights_sha256: str,
    gate: GateResult | None,
    clock: Clock = now,
) -> Manifest:
    """Describe the engine in `folder`, beside its files."""
    manifest = Manifest(
        format=1,
        model=plan.model,
        created=clock().astimezone(UTC).isoformat(timespec="seconds"),
        gpu=plan.gpu.key,
        gpu_name=device.name,
        compute_capability=device.compute_capability,
        driver=device.driver,
        versions=dict(versions),
        weights_sha256=weights_sha256,
        dims=plan.dims.as_dict(),
        windows=plan.windows,
        max_input_len=plan.max_input_len,
        max_seq_len=plan.max_seq_len,
        cross_kv_cache_fraction=plan.cross_kv_cache_fraction,
        flags={part: tuple(words) for part, words in flags(plan).items()},
        files=built_files(folder),
        gate=gate,
    )
    save(folder, ADAPTER.dump_python(manifest, mode="json"))
    return manifest


def built_files(folder: Path) -> dict[str, BuiltFile]:
    """Size and hash of every file by its name in `folder`, the manifest aside."""
    return {
        path.relative_to(folder).as_posix(): BuiltFile(path.stat().st_size, sha256_of(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != NAME
    }


def save(folder: Path, content: object) -> None:
    """Write a manifest as JSON for people and programs."""
    (folder / NAME).unlink(missing_ok=True)  # read-only, if an earlier run was killed at its end
    (folder / NAME).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def protect(folder: Path) -> None:
    """Make all files read-only, and the folders below; the build itself can still be moved."""
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
