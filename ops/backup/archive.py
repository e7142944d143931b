"""The file of a backup: a plain tar of a few members, with a list of their sizes and SHA-256.

Knows: its form, how it is checked before anything is believed.
Must not know: what the members mean. No path in an archive ever becomes a path on the disk.
"""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

LIST = "backup.json"
SEAL = "backup.sha256"
"""The last member, the list's hash as sha256sum writes it; what was cut short has none."""
MEMBER = re.compile(
    r"(settings\.json|api_keys|token_keys|denied_tokens|usage\.sqlite3"
    r"|engines(/[^/.][^/]*){2}/activated\.json|engines(/[^/.][^/]*){3}/manifest\.json)"
)
"""Nothing else is in an archive."""
STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ArchiveError(Exception):
    """No backup, or not all of one, or not as it was written."""


@dataclass(frozen=True, slots=True, config=STRICT)
class Member:
    """What a member has to be."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, config=STRICT)
class Contents:
    """The list; `created` is UTC in ISO 8601, `active` has the active build of `engine/model`."""

    format: Literal[1]
    version: str
    created: str
    active: Mapping[str, str]
    members: Mapping[str, Member]


ADAPTER = TypeAdapter(Contents)


def write(
    out: IO[bytes],
    files: Mapping[str, bytes],
    active: Mapping[str, str],
    *,
    version: str,
    created: str,
) -> Contents:
    """Write an archive; what it says of itself.

    Raises:
        OSError: it cannot be written.
    """
    members = {
        name: Member(len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()
    }
    contents = Contents(1, version, created, dict(active), members)
    listed = json.dumps(asdict(contents), indent=1).encode()
    with tarfile.open(fileobj=out, mode="w|") as tar:
        for name, data in [*files.items(), (LIST, listed), (SEAL, _seal(listed))]:
            assert _is_ours(name), "this is a bug: it could not be read"
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o600
            tar.addfile(info, io.BytesIO(data))
    return contents


def read(path: Path) -> tuple[Contents, dict[str, bytes]]:
    """The list and every member, after all of it was compared.

    Raises:
        ArchiveError: it says what is wrong.
        OSError: it cannot be read.
    """
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            largest = path.stat().st_size
            for info in tar:
                name = _name(info, files, largest)  # before anything of it is read
                files[name] = _data(tar, info)
        listed = files.pop(LIST, b"")
        if files.pop(SEAL, None) != _seal(listed):
            raise ArchiveError(f"{path} is cut short, or its list is not as it was written")
        contents = ADAPTER.validate_json(listed)
    except (tarfile.TarError, EOFError) as error:
        raise ArchiveError(f"{path} is damaged, or no backup: {error}") from error
    except ValidationError as error:
        raise ArchiveError(f"{path} is of another version: its list is not known") from error
    for name in sorted(files.keys() | contents.members.keys()):
        if problem := _problem(files.get(name), contents.members.get(name)):
            raise ArchiveError(f"{path}: {name} {problem}")
    return contents, files


def _name(info: tarfile.TarInfo, seen: Mapping[str, bytes], largest: int) -> str:
    """The member's name, if it is one of ours; a sparse one might claim any size."""
    if not info.isreg() or info.issparse() or info.size > largest:
        raise ArchiveError(f"{info.name!r} is no plain file: this is no backup of `ops backup`")
    if not _is_ours(info.name) or info.name in seen:
        raise ArchiveError(f"{info.name!r} does not belong into a backup")
    return info.name


def _is_ours(name: str) -> bool:
    return name in {LIST, SEAL} or MEMBER.fullmatch(name) is not None


def _seal(listed: bytes) -> bytes:
    return f"{hashlib.sha256(listed).hexdigest()}  {LIST}\n".encode()


def _data(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(info)
    assert content, "a plain file has content"
    return content.read()


def _problem(data: bytes | None, member: Member | None) -> str | None:
    if data is None:
        return "is missing"
    if member is None:
        return "is not in its list"
    if (len(data), hashlib.sha256(data).hexdigest()) != (member.bytes, member.sha256):
        return "is not as it was written"
    return None
