"""What a built engine is, and whether what lies here is still that.

Knows: the manifest's fields, and the files beside it.
Must not know: how an engine is built or loaded. It only reads.
An engine file is a program that runs on the GPU: one that is not exactly the built one, or was
built for something else, is never loaded.
"""

import hashlib
import stat
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from server.errors import EngineError

NAME = "manifest.json"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[a-z0-9_]+(/[a-z0-9_]+)?\.[a-z]+$")]
"""Relative, at most one folder deep, without any way out."""

STRICT = ConfigDict(extra="forbid")

M = TypeVar("M")


@dataclass(frozen=True, slots=True, config=STRICT)
class BuiltFile:
    """One file of the engine."""

    size: Annotated[int, Field(ge=0)]
    sha256: Sha256


ReferenceName: TypeAlias = Literal["openai-whisper", "ctranslate2"]


@dataclass(frozen=True, slots=True, config=STRICT)
class GateResult:
    """What the gate measured: word error rates as fractions, the largest differences found.

    `reference` is what the engine was compared with, in float32 on the same weights.
    """

    clips: int
    wer: float
    reference_wer: float
    max_logprob_difference: float
    max_company_difference: float
    reference: ReferenceName = "ctranslate2"


@dataclass(frozen=True, slots=True, config=STRICT)
class Manifest:
    """One engine, as it left the build.

    `gpu` is the key of its plan, `gpu_name` what the driver calls the card; `created` is UTC in
    ISO 8601; `dims` are openai-whisper's; `gate` is None where no gate has passed the engine.
    """

    format: Literal[1]
    model: str
    created: str
    gpu: str
    gpu_name: str
    compute_capability: str
    driver: str
    versions: Mapping[str, str]
    weights_sha256: Sha256
    dims: Mapping[str, int]
    windows: int
    max_input_len: int
    max_seq_len: int
    cross_kv_cache_fraction: float
    flags: Mapping[str, tuple[str, ...]]
    files: Mapping[FileName, BuiltFile]
    gate: GateResult | None

    @property
    def rebuild_command(self) -> str:
        """What makes this engine anew, on the machine with the GPU."""
        return (
            f"python -m ops engines rebuild {self.model} --gpu {self.gpu} --windows {self.windows}"
        )


@dataclass(frozen=True, slots=True)
class Running:
    """The machine that wants to load an engine; `versions` by package name."""

    gpu_name: str
    compute_capability: str
    versions: Mapping[str, str] = field(default_factory=dict)


ADAPTER = TypeAdapter(Manifest)


def read(folder: Path) -> Manifest:
    """The manifest in an engine's folder.

    Raises:
        EngineError: there is none, or it is not one of ours.
    """
    return read_as(ADAPTER, folder)


def read_as(adapter: TypeAdapter[M], folder: Path) -> M:
    """The manifest in a folder, in the form of `adapter`.

    Raises:
        EngineError: there is none, or it has another form.
    """
    try:
        return adapter.validate_json((folder / NAME).read_bytes())
    except OSError as error:
        raise EngineError(f"The engine has no {NAME}; it was not built by engine_build.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "JSON"
        raise EngineError(f"The engine's {NAME} is damaged: {place}: {first['msg']}.") from error


def verify(folder: Path, running: Running, *, gated: bool = True, hashed: bool = False) -> Manifest:
    """The manifest, if everything in the folder is as it says and fits this machine.

    Reads every byte of the engine, gigabytes; `hashed` True is for whoever has just done so.
    `gated` False is for the gate itself, which has to open what has not passed it yet.

    Raises:
        EngineError: anything differs; it says what, and which command builds the engine anew.
    """
    manifest = read(folder)
    found = list(differences(manifest, running, gated=gated))
    if not hashed:
        found += file_differences(folder, manifest.files)
    if found:
        raise EngineError(
            f"The engine of {manifest.model} is not loaded: {'; '.join(found)}. "
            f"Build it anew: {manifest.rebuild_command}"
        )
    return manifest


def differences(manifest: Manifest, running: Running, *, gated: bool = True) -> Iterator[str]:
    """Why an engine does not serve here, its files aside; one clause each."""
    if gated and manifest.gate is None:
        yield "it has not passed the gate"
    if running.gpu_name != manifest.gpu_name:
        yield f"built on {manifest.gpu_name}, here is {running.gpu_name}"
    if running.compute_capability != manifest.compute_capability:
        yield (
            f"built for compute capability {manifest.compute_capability}, "
            f"here is {running.compute_capability}"
        )
    for package in ("tensorrt_llm", "tensorrt"):
        built, here = manifest.versions.get(package), running.versions.get(package)
        if built != here:
            yield f"built with {package} {built}, here is {here}"


def file_differences(folder: Path, files: Mapping[str, BuiltFile]) -> Iterator[str]:
    """How the folder's files differ from those that were built; reads every byte."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() and name != NAME and name not in files:
            yield f"{name} is not in the manifest"
    for name, file in sorted(files.items()):
        if problem := _problem(folder / name, file):
            yield f"{name} {problem}"


def _problem(path: Path, file: BuiltFile) -> str | None:
    try:
        status = path.lstat()
    except OSError:
        return "is missing"
    if not stat.S_ISREG(status.st_mode):
        return "is no regular file"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be written by others"
    if status.st_size != file.size:
        return f"has {status.st_size} bytes, built were {file.size}"
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return None if digest == file.sha256 else "is not the file that was built (SHA-256)"
