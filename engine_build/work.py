"""The folder in which a build grows: beside its target, resumable, for one build at a time.

Knows: names of folders, the lock, what is kept and what is thrown away.
Must not know: what is built.

Whatever interrupts a build (kill -9, a full disk, a compiler that fails), its finished steps stay
and the next build of the same thing goes on after them. Another build of the same model
throws them away; so does a result that does not pass the gate.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engine_build.errors import BuildError

Say = Callable[[str], None]
"""Told each line of progress."""


class Busy(BuildError):
    """Another process works here."""


class Work:
    """An open folder for the build of one thing; `path` is it."""

    def __init__(self, path: Path, say: Say) -> None:
        self.path = path
        self._say = say

    def step(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder of a finished step, made now unless it was finished before.

        `make` fills a folder that is moved to its place, on disk, when it returns.
        """
        done = self.path / name
        if done.is_dir():
            self._say(f"{name}: finished by an earlier run")
            return done
        unfinished = self.path / f"{name}.unfinished"
        remove(unfinished)
        unfinished.mkdir()
        make(unfinished)
        move(unfinished, done)
        return done


@contextmanager
def work_for(out: Path, model: str, key: str, say: Say) -> Iterator[Work]:
    """Work beside `out` on a build of `model` that `key` describes; the caller removes it.

    Raises:
        Busy: another process builds beside `out`.
        BuildError: `out` is there already.
    """
    if out.exists():
        raise BuildError(f"{out} is there already; choose another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    name = f".{model}.{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    path = out.parent / name
    with alone(out.parent, f"another build works in {out.parent}"):
        for other in out.parent.glob(f".{model}.*"):
            if other != path:
                say(f"throwing away the unfinished build of something else ({other.name})")
                remove(other)
        path.mkdir(exist_ok=True)
        yield Work(path, say)


@contextmanager
def alone(folder: Path, otherwise: str) -> Iterator[None]:
    """Be the only process in `folder`; the kernel ends that with the process, however it ends.

    Raises:
        Busy: another one is; `otherwise` says what it does.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Busy(f"{otherwise}; wait until it is done") from None
    else:
        yield
    finally:
        os.close(descriptor)


def move(source: Path, target: Path) -> None:
    """Move a folder into place, at once or not at all, after its files have reached the disk."""
    for path in (*source.rglob("*"), source):
        _sync(path)
    os.rename(source, target)  # noqa: PTH104  fails where Path.replace would swallow a folder
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(folder: Path) -> None:
    """Delete a folder and all in it, read-only ones too; none is fine."""
    if not folder.is_dir():
        return
    for inside in (folder, *folder.rglob("*/")):  # read-only ones cannot be emptied
        inside.chmod(0o755)
    shutil.rmtree(folder)
