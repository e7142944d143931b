"""The folder of models: only complete, checked ones are ever seen in it.

Knows: temporary folders, atomic renames, the lock, and the stamp that spares hashing again.
Must not know: how bytes are fetched (`sources`), what a model is used for.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ops.weights.catalogue import Bundle, Catalogue, WeightFile
from ops.weights.errors import SourceUnavailable, WeightsError, WrongBytes
from ops.weights.sources import Source

STAMP = ".verified.json"
"""Holds size, times and inode of each file as they were when its hash was last right."""


class Store:
    """`<folder>/<model>/`: one sub-folder a model."""

    def __init__(self, folder: Path, catalogue: Catalogue, say: Callable[[str], None]) -> None:
        """`say` gets the lines that tell a person what goes on."""
        self.folder = folder
        self._catalogue = catalogue
        self._say = say

    def problems(self, model: str, *, rehash: bool = False) -> list[str]:
        """What is wrong with a model's folder; empty when it is complete and right.

        Sizes are always checked. Hashes are checked unless the stamp shows that no file changed
        since; `rehash` reads every byte whatever the stamp says.
        """
        bundles = self._bundles(model)
        folder = self.folder / model
        if not folder.is_dir():
            return [f"{folder} does not exist"]
        found = []
        for bundle in bundles:
            problems = [
                problem
                for file in bundle.files
                if (problem := _problem(folder, file, _read_stamp(folder), rehash=rehash))
            ]
            if not problems:
                _write_stamp(folder, bundle)
                return []
            found.append(problems)
        return min(found, key=len)

    def get(self, model: str, sources: Sequence[Source]) -> Path:
        """The model's folder, fetched from the first source that has the right bytes.

        Two calls at once, also of two processes, fetch once.

        Raises:
            WeightsError: no source could deliver, or the folder is there and holds other files.
        """
        target = self.folder / model
        if self._is_ready(model):
            return target
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone(model):
            if self._is_ready(model):
                return target
            for left in self.folder.glob(f".{model}.part-*"):
                shutil.rmtree(left)
            self._fetch(model, sources, target)
        return target

    def _is_ready(self, model: str) -> bool:
        """Whether the model is there; a folder with other files is never touched."""
        target = self.folder / model
        if not target.exists() or (target.is_dir() and not any(target.iterdir())):
            return False
        if not (problems := self.problems(model)):
            return True
        raise WeightsError(
            f"{target} holds other files than the pinned ones of {model}: {'; '.join(problems)}. "
            "Move that folder away to fetch it again."
        )

    def _fetch(self, model: str, sources: Sequence[Source], target: Path) -> None:
        failures = []
        for bundle, source in self._plan(model, sources):
            self._make_sure_of_room(2 * bundle.size)
            self._say(f"{model}: {bundle.size / 1e6:.0f} MB from {source.name}")
            part = Path(tempfile.mkdtemp(dir=self.folder, prefix=f".{model}.part-"))
            try:
                source.fetch(bundle, part)
                _write_stamp(part, bundle)
                part.chmod(0o755)
                part.rename(target)
            except (SourceUnavailable, WrongBytes) as error:
                failures.append(f"{source.name}: {error}")
                self._say(f"  not from there: {error}")
            else:
                self._say(f"{model}: ready in {target}")
                return
            finally:
                shutil.rmtree(part, ignore_errors=True)
        raise WeightsError(f"no source has the weights of {model}:\n  " + "\n  ".join(failures))

    def _make_sure_of_room(self, need: int) -> None:
        room = shutil.disk_usage(self.folder).free
        if room < need:
            raise WeightsError(
                f"{self.folder} has room for {room / 1e6:.0f} MB; {need / 1e6:.0f} MB are needed"
            )

    def _plan(self, model: str, sources: Sequence[Source]) -> Iterator[tuple[Bundle, Source]]:
        """Official bytes from every source first, then the next bundle."""
        for bundle in self._bundles(model):
            for source in sources:
                if source.has(bundle):
                    yield bundle, source

    def _bundles(self, model: str) -> tuple[Bundle, ...]:
        try:
            return self._catalogue[model]
        except KeyError:
            known = ", ".join(self._catalogue)
            raise WeightsError(f"no model {model!r} in the catalogue; it has {known}") from None

    @contextmanager
    def _alone(self, model: str) -> Iterator[None]:
        with (self.folder / f".{model}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say(f"{model}: another process is fetching it; waiting")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _problem(
    folder: Path, file: WeightFile, stamp: dict[str, object], *, rehash: bool
) -> str | None:
    path = folder / file.name
    try:
        size = path.stat().st_size
    except OSError:
        return f"{file.name} is missing"
    if size != file.size:
        return f"{file.name} has {size} bytes, pinned are {file.size}"
    if not rehash and stamp.get(file.name) == _fingerprint(path, file):
        return None
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != file.sha256:
        return f"{file.name} has SHA-256 {digest}, pinned is {file.sha256}"
    return None


def _fingerprint(path: Path, file: WeightFile) -> list[object]:
    """What changes when a file does; no program can set a file's change time."""
    status = path.stat()
    return [file.sha256, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _read_stamp(folder: Path) -> dict[str, object]:
    try:
        stamp = json.loads((folder / STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _write_stamp(folder: Path, bundle: Bundle) -> None:
    """Remember what was found right. A read-only folder does without: it is hashed each time."""
    stamp = {file.name: _fingerprint(folder / file.name, file) for file in bundle.files}
    if stamp == _read_stamp(folder):
        return
    with suppress(OSError):
        new = folder / f"{STAMP}.{os.getpid()}"
        new.write_text(json.dumps(stamp))
        new.replace(folder / STAMP)
