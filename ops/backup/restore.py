"""A backup back in its places: what would change, and the change.

Knows: which places a command may write to, and what it can only say.
Must not know: the archive's form.

Nothing is written before everything was looked at. Each file is replaced in one step; the server
takes keys over on SIGHUP, and usage at once.
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ops import records
from ops.backup import database, places
from ops.backup.archive import ArchiveError, Contents
from ops.finding import Finding, note, ok
from server.access.records import RecordsError, parse_records
from server.engines import converted, manifest
from server.settings import PREFIX, Settings

RELOAD = "A running server takes it over on SIGHUP."
TEXTS = TypeAdapter(dict[str, str])


@dataclass(frozen=True, slots=True)
class Restore:
    """A checked archive at a machine with these settings."""

    contents: Contents
    files: Mapping[str, bytes]
    settings: Settings
    environ: Mapping[str, str]

    def check(self) -> None:
        """See that the members are what their names say.

        Raises:
            ArchiveError, DatabaseError: one is not.
        """
        try:
            parse_records(self.files.get("api_keys", b"").decode())
            TEXTS.validate_json(self.files.get("settings.json", b"{}"))
        except (RecordsError, UnicodeDecodeError, ValidationError) as error:
            raise ArchiveError(f"the backup holds what no server takes: {error}") from error
        if "usage.sqlite3" in self.files:
            database.check(self.files["usage.sqlite3"])

    def overwritten(self) -> list[Path]:
        """Files that are here and would become others."""
        found = [
            path
            for name, path in self._lists()
            if path and path.exists() and path.read_bytes().strip() != self.files[name].strip()
        ]
        usage = places.usage_file(self.settings)
        if usage and usage.exists() and "usage.sqlite3" in self.files:
            found.append(usage)
        return found

    def apply(self) -> Iterator[Finding]:
        """Write, and say what was written and what is left to a person.

        Raises:
            DatabaseError, click.ClickException: a place cannot be written.
        """
        for name, path in self._lists():
            yield self._put_list(name, path)
        if "usage.sqlite3" in self.files:
            yield self._put_usage()
        yield self._compare_settings()
        yield from self._compare_builds()

    def _lists(self) -> Iterator[tuple[str, Path | None]]:
        for name in places.LISTS:
            if name in self.files:
                yield name, places.list_file(name, self.environ)

    def _put_list(self, name: str, path: Path | None) -> Finding:
        variable = PREFIX + name.upper()
        if path is None:
            if self.files[name].split() == self.environ.get(variable, "").encode().split():
                return ok(name, f"{variable} is the same")
            todo = f"set {variable}, or {variable}_FILE, to what `tar -xOf BACKUP {name}` prints"
            return note(name, "not written: no file of this machine holds them", todo)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        records.replace(path, self.files[name].decode())
        if name == "api_keys" and self._lacks_pepper():
            todo = "set SUSSURRO_KEY_PEPPER, or its file, to what it was; it is in no backup"
            return note(name, f"{path}; some are of use with their pepper only", todo)
        return ok(name, f"{path}. {RELOAD}")

    def _lacks_pepper(self) -> bool:
        found = parse_records(self.files["api_keys"].decode())
        pepper = self.settings.key_pepper.get_secret_value()
        return not pepper and any(record.peppered for record in found)

    def _put_usage(self) -> Finding:
        path = places.usage_file(self.settings)
        if path is None:
            todo = "set SUSSURRO_USAGE_DB to a file, and run this again"
            return note("usage", "not written: this machine keeps none", todo)
        database.copy_in(self.files["usage.sqlite3"], path)
        return ok("usage", str(path))

    def _compare_settings(self) -> Finding:
        """The environment is made by whoever starts the server; it cannot be written from here."""
        before = TEXTS.validate_json(self.files.get("settings.json", b"{}"))
        now = places.open_settings(self.environ)
        missing = [f"{k}={shlex.quote(v)}" for k, v in before.items() if now.get(k) != v]
        if missing:
            todo = "set them where the server is started; pepper and Redis' address were not kept"
            return note("settings", f"were different: {' '.join(missing)}", todo)
        return ok("settings", "are as they were")

    def _compare_builds(self) -> Iterator[Finding]:
        for place, name in self.contents.active.items():
            engine, _, model = place.partition("/")
            here = [b for b in places.all_builds(self.settings) if f"{b.engine}/{b.model}" == place]
            member = f"engines/{place}/{name}/{manifest.NAME}"
            check = f"engine of {model}"
            if not (here and name in here[0].names()):
                todo = f"`{_command(engine, model, self.files.get(member, b''))}`"
                yield note(check, f"{name} of {engine} served, and is not here", todo)
            elif (here[0].path(name) / manifest.NAME).read_bytes() != self.files.get(member):
                todo = "`ops engines verify` says whether it is whole"
                yield note(check, f"{name} is here, and another one than it was", todo)
            elif here[0].active() != name:
                todo = f"`ops engines activate {model} {name}`"
                yield note(check, f"{name} served, and does not now", todo)
            else:
                yield ok(check, f"{name} is here and active")


def _command(engine: str, model: str, text: bytes) -> str:
    """What makes a build anew, by its manifest."""
    command = f"ops engines rebuild {model} --engine {engine}"
    try:
        if engine == "ctranslate2":
            return f"{command} --quantization {converted.ADAPTER.validate_json(text).quantization}"
        return f"{command} --windows {manifest.ADAPTER.validate_json(text).windows}"
    except ValidationError:
        return command
