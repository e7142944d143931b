"""The weights to build from: the official place first, a file of one's own otherwise.

Knows: addresses and hashes of openai-whisper's checkpoints.
Must not know: what is in a checkpoint.
"""

import hashlib
import http.client
import os
import shutil
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import cache
from pathlib import Path

from engine_build.checkpoint import sha256_of, weights_file
from engine_build.errors import WeightsError

CHUNK_BYTES = 1 << 20
MAX_BYTES = 4 << 30
"""The largest official checkpoint has 3.1 GB."""

TIMEOUT = 30.0
"""Seconds that the official place may take to connect, or to send the next bytes."""

ALIASES = {"large": "large-v3", "turbo": "large-v3-turbo"}
"""openai-whisper's short names."""


@cache
def official() -> tuple[str, dict[str, str]]:
    """The folder of all checkpoints, and the SHA-256 of each model's."""
    path = Path(__file__).parent / "recorded" / "checkpoints.toml"
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return content["base_url"], content["sha256"]


def known_model(model: str) -> str:
    """The model's full name.

    Raises:
        WeightsError: openai-whisper has no such multilingual model.
    """
    name = ALIASES.get(model, model)
    known = official()[1]
    if name not in known:
        raise WeightsError(f"no model {model!r}; there are {', '.join((*known, *ALIASES))}")
    return name


def local(model: str, path: Path, pinned: str | None) -> Path:
    """A file or CTranslate2 folder of one's own, if its hash is the expected one.

    Args:
        model: the full name; its official hash is expected unless `pinned` is given.
        path: a `.pt`, or a folder with `model.bin`.
        pinned: the SHA-256 that the caller vouches for.

    Raises:
        WeightsError: it is not there, or has another hash.
    """
    file = weights_file(path)
    if not file.is_file():
        raise WeightsError(f"{path} is neither a checkpoint nor a folder with model.bin")
    expected = pinned or official()[1][model]
    if (found := sha256_of(file)) != expected:
        whose = "the one given with --sha256" if pinned else f"the official one of {model}"
        raise WeightsError(
            f"{file} has SHA-256 {found}, {whose} is {expected}. "
            f"If you trust this file, say --sha256 {found}"
        )
    return path


def fetch(
    model: str,
    folder: Path,
    say: Callable[[str], None],
    *,
    base_url: str | None = None,
    sha256: str | None = None,
) -> Path:
    """The official checkpoint in `folder`, downloaded unless it is there.

    `base_url` and `sha256` are openai-whisper's unless given (a mirror, a test).

    Raises:
        WeightsError: it cannot be had, or is not the pinned file; nothing of it is kept then.
    """
    place, hashes = official()
    expected = sha256 or hashes[model]
    target = folder / f"{model}.pt"
    if target.is_file():
        if sha256_of(target) == expected:
            return target
        raise WeightsError(f"{target} is not the official {model}; move it away to fetch it again")
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f".{model}.pt.*"):
        if not Path("/proc", left.suffix.removeprefix(".")).exists():  # its process was killed
            left.unlink()
    url = f"{base_url or place}/{expected}/{model}.pt"
    say(f"{model}: fetching {url}")
    partial = folder / f".{model}.pt.{os.getpid()}"
    try:
        found = _download(url, partial, say)
        if found != expected:
            raise WeightsError(f"{url} sent SHA-256 {found}, pinned is {expected}")
        partial.replace(target)
    except (OSError, http.client.HTTPException) as error:
        raise WeightsError(
            f"{url} cannot be had ({error}); name a file of your own with --weights"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return target


def _download(url: str, partial: Path, say: Callable[[str], None]) -> str:
    if not url.startswith(("https://", "http://")):
        raise WeightsError(f"{url} is no http address")
    request = urllib.request.Request(url, headers={"User-Agent": "sussurro"})  # noqa: S310  checked above
    digest = hashlib.sha256()
    size = told = 0
    with (
        urllib.request.urlopen(request, timeout=TIMEOUT) as response,  # noqa: S310  checked above
        partial.open("wb") as out,
    ):
        whole = int(response.headers.get("Content-Length") or 0)
        room = shutil.disk_usage(partial.parent).free
        if whole > min(MAX_BYTES, room):
            raise WeightsError(f"{url} has {whole:,} bytes; there is room for {room:,}")
        while chunk := response.read(CHUNK_BYTES):
            size += len(chunk)
            if size > MAX_BYTES:
                raise WeightsError(f"{url} has more than {MAX_BYTES:,} bytes")
            digest.update(chunk)
            out.write(chunk)
            if whole and (percent := size * 10 // whole * 10) > told:
                told = percent
                say(f"  {percent} % of {whole / 1e6:.0f} MB")
        out.flush()
        os.fsync(out.fileno())
    if size < whole:
        raise WeightsError(f"{url} broke off after {size:,} of {whole:,} bytes")
    return digest.hexdigest()
