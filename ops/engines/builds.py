"""A model's builds: complete folders beside one another, and the link to the active one.

Knows: names, the link, what was active before, what may be deleted.
Must not know: what a build holds, or how it is made.

    <engines>/<engine>/<model>/20261125T120000Z-int8/   a build, complete and read-only
    <engines>/<engine>/<model>/current                  → the active one
    <engines>/<engine>/<model>/activated.json           names, in the order in which they served

The link alone says what is active, and changes at once or not at all. `activated.json` is written
before it, so that a kill in between leaves a name too many there, and nothing else.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine_build.work import remove
from server.engines.choice import CURRENT, WEIGHTS, EngineName

ACTIVATED = "activated.json"


class BuildsError(Exception):
    """What was asked for cannot be done; the message is for the person at the terminal."""


class Builds:
    """All builds of one model for one engine."""

    def __init__(self, engines: Path, engine: EngineName, model: str) -> None:
        self.engine = engine
        self.model = model
        self.folder = engines / engine / model

    def names(self) -> list[str]:
        """Complete builds, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(
            path.name
            for path in self.folder.iterdir()
            if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
        )

    def active(self) -> str | None:
        """The name of the active build; None if there is none."""
        link = self.folder / CURRENT
        return link.readlink().name if link.is_symlink() else None

    def previous(self) -> str | None:
        """What a rollback would activate: a build, or `weights`; None if nothing was before."""
        active, served = self.active(), self._activated()
        before = served[: served.index(active)] if active in served else []
        here = [name for name in before if name == WEIGHTS or name in self.names()]
        return here[-1] if here else None

    def path(self, name: str) -> Path:
        """A build's folder.

        Raises:
            BuildsError: there is no such build.
        """
        if name not in self.names():
            known = ", ".join(self.names()) or "none"
            raise BuildsError(f"{self.model} has no build {name} for {self.engine}; it has {known}")
        return self.folder / name

    def activate(self, name: str) -> None:
        """Let servers that start from now on take this build.

        Raises:
            BuildsError: there is no such build.
        """
        path = self.path(name)
        with self._switching():
            active = self.active()
            if active == name:
                return
            served = self._activated()
            if active in served:
                served = served[: served.index(active) + 1]
            elif active is not None:
                served = [active]
            elif self.engine == "ctranslate2":
                served = [WEIGHTS]
            self._remember([*(each for each in served if each != name), name])
            self._link(path.name)

    def rollback(self) -> str:
        """Let servers take what was active before; its name.

        Raises:
            BuildsError: nothing was.
        """
        with self._switching():
            previous = self.previous()
            if previous is None:
                raise BuildsError(
                    f"nothing served {self.model} with {self.engine} before; `ops engines list` "
                    "has the builds that can be activated"
                )
            if previous == WEIGHTS:
                (self.folder / CURRENT).unlink()
            else:
                self._link(previous)
            return previous

    def prune(self, keep: int) -> list[str]:
        """Delete the oldest builds beyond `keep`, never the active one or the one before it."""
        with self._switching():
            needed = {self.active(), self.previous()}
            spare = [name for name in self.names() if name not in needed]
            kept = max(keep - len(needed & set(self.names())), 0)
            gone = spare[: max(len(spare) - kept, 0)]
            for name in gone:
                remove(self.folder / name)
        return gone

    def _activated(self) -> list[str]:
        try:
            names = json.loads((self.folder / ACTIVATED).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise BuildsError(f"{self.folder / ACTIVATED} cannot be read: {error}") from error
        return [str(name) for name in names]

    def _remember(self, names: list[str]) -> None:
        new = self.folder / f".{ACTIVATED}"
        with new.open("w", encoding="utf-8") as out:
            out.write(json.dumps(names) + "\n")
            out.flush()
            os.fsync(out.fileno())
        new.replace(self.folder / ACTIVATED)

    def _link(self, name: str) -> None:
        new = self.folder / f".{CURRENT}"
        new.unlink(missing_ok=True)
        new.symlink_to(name)
        new.replace(self.folder / CURRENT)
        descriptor = os.open(self.folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    @contextmanager
    def _switching(self) -> Iterator[None]:
        """Switches are short, so others wait; a rebuild does not hold this lock."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder.parent, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def models(engines: Path, engine: EngineName) -> list[str]:
    """Models that have a folder here."""
    folder = engines / engine
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
