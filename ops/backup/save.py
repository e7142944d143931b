"""Everything that goes into a backup, read from its places.

Knows: names in the archive.
Must not know: the archive's form.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ops.backup import database, places
from ops.engines.builds import ACTIVATED, Builds
from server.engines.manifest import NAME as MANIFEST
from server.settings import Settings


@dataclass(slots=True)
class Saved:
    """Members by name, and the active build of each engine's models."""

    files: dict[str, bytes] = field(default_factory=dict)
    active: dict[str, str] = field(default_factory=dict)


def save(settings: Settings, environ: Mapping[str, str]) -> Saved:
    """All of it.

    Raises:
        DatabaseError: the usage database cannot be copied.
        OSError: a file cannot be read.
    """
    saved = Saved()
    open_settings = places.open_settings(environ)
    saved.files["settings.json"] = json.dumps(open_settings, indent=1).encode()
    for name in places.LISTS:
        if text := places.list_text(name, settings, environ):
            saved.files[name] = f"{text.strip()}\n".encode()
    usage = places.usage_file(settings)
    if usage and usage.exists():
        saved.files["usage.sqlite3"] = database.copy_out(usage)
    for builds in places.all_builds(settings):
        _add_builds(builds, saved)
    return saved


def _add_builds(builds: Builds, saved: Saved) -> None:
    """What each build is; its gigabytes can be made anew."""
    place = f"{builds.engine}/{builds.model}"
    for file in (builds.folder / ACTIVATED, *(builds.path(n) / MANIFEST for n in builds.names())):
        if file.is_file():
            saved.files[f"engines/{place}/{file.relative_to(builds.folder)}"] = file.read_bytes()
    if active := builds.active():
        saved.active[place] = active
