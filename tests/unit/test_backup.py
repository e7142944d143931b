"""`ops backup` and `ops restore`: nothing that is not what it says is put back."""

import io
import json
import sqlite3
import stat
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ops.__main__ import main
from ops.backup import archive, database, places
from server.access.keys import new_key
from server.access.usage import SCHEMA


class Machine:
    """A machine with keys, usage and a build, each in its place."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.keys = folder / "api_keys"
        self.usage = folder / "usage.sqlite3"
        self.builds = folder / "engines" / "ctranslate2" / "base"
        self.settings = {
            "SUSSURRO_API_KEYS_FILE": str(self.keys),
            "SUSSURRO_USAGE_DB": str(self.usage),
            "SUSSURRO_ENGINES_DIR": str(folder / "engines"),
            "SUSSURRO_REDIS_URL": "redis://:hunter2@192.0.2.1",
            "SUSSURRO_PORT": "9011",
        }
        self.keys.write_text("")

    def fill(self) -> "Machine":
        """Something to lose."""
        self.keys.write_text(f"# whose\n{new_key('n8n').record}\n")
        with closing(sqlite3.connect(self.usage)) as made, made:
            made.execute(SCHEMA)
            made.execute("INSERT INTO usage VALUES ('n8n', 1, 2, 3)")
        build = self.builds / "20260101T000000Z-int8"
        build.mkdir(parents=True)
        (build / "manifest.json").write_text("{}")
        (build / "model.bin").write_bytes(b"gigabytes")
        (self.builds / "current").symlink_to(build.name)
        (self.builds / "activated.json").write_text('["weights"]')
        return self

    def run(self, *arguments: object, **environ: str) -> Result:
        """A command with these settings."""
        return CliRunner().invoke(main, [*map(str, arguments)], env=self.settings | environ)

    def rows(self) -> list[Any]:
        """What the database has."""
        with closing(sqlite3.connect(self.usage)) as found:
            return found.execute("SELECT * FROM usage").fetchall()


@pytest.fixture
def old(tmp_path: Path) -> Machine:
    """What is backed up."""
    return Machine(tmp_path / "old").fill()


@pytest.fixture
def new(tmp_path: Path) -> Machine:
    """Where it is put back."""
    return Machine(tmp_path / "new")


@pytest.fixture
def saved(old: Machine, tmp_path: Path) -> Path:
    """A backup."""
    file = tmp_path / "backup.tar"
    done = old.run("backup", file)
    assert 0 == done.exit_code, done.output
    return file


def test_another_machine_gets_it_all(old: Machine, new: Machine, saved: Path) -> None:
    """Keys and usage are put back, of settings and engines it is said what differs."""
    new.keys.unlink()
    done = new.run("restore", saved, "--json", SUSSURRO_PORT="9005")
    assert 0 == done.exit_code, done.output
    found = {finding["check"]: finding for finding in json.loads(done.stdout)}

    assert old.keys.read_text() == new.keys.read_text()
    assert old.rows() == new.rows()
    assert ["ok", "ok"] == [found[check]["state"] for check in ("api_keys", "usage")]
    assert "SUSSURRO_PORT=9011" in found["settings"]["found"]
    assert "ops engines rebuild base --engine ctranslate2" in found["engine of base"]["todo"]


def test_only_its_owner_reads_it_and_no_secret_is_in_it(saved: Path) -> None:
    """No pepper, no address with a password, no engine; hashes are."""
    _, files = archive.read(saved)

    assert 0o600 == stat.S_IMODE(saved.stat().st_mode)
    assert b"hunter2" not in saved.read_bytes()
    assert b"gigabytes" not in saved.read_bytes()
    assert b"n8n:sha256:" in files["api_keys"]
    assert {
        "settings.json",
        "api_keys",
        "usage.sqlite3",
        "engines/ctranslate2/base/activated.json",
        "engines/ctranslate2/base/20260101T000000Z-int8/manifest.json",
    } == files.keys()


def test_nothing_is_replaced_unasked(old: Machine, new: Machine, saved: Path) -> None:
    """Neither a backup nor what a machine has; with --force both are."""
    new.fill()
    before = new.keys.read_text()
    done = new.run("restore", saved)
    assert (1, True) == (done.exit_code, "--force" in done.output)
    assert before == new.keys.read_text()
    assert 0 == new.run("restore", saved, "--force").exit_code
    assert old.keys.read_text() == new.keys.read_text()
    assert 1 == old.run("backup", saved).exit_code
    assert 0 == old.run("backup", saved, "--force").exit_code


def test_a_backup_can_be_looked_at(new: Machine, saved: Path) -> None:
    """What it is, whether it is whole; nothing is written."""
    done = new.run("restore", saved, "--check")

    assert (0, "Whole;") == (done.exit_code, done.output[:6])
    assert "" == new.keys.read_text()


def test_it_may_go_down_a_pipe(old: Machine, tmp_path: Path) -> None:
    """The archive is all that standard output gets."""
    done = old.run("backup", "-")
    (tmp_path / "piped").write_bytes(done.stdout_bytes)

    assert archive.read(tmp_path / "piped")[1].keys() >= {"api_keys", "usage.sqlite3"}


def test_keys_whose_pepper_is_gone(old: Machine, new: Machine, tmp_path: Path) -> None:
    """They are put back, and it is said that they are of no use yet."""
    old.keys.write_text(new_key("n8n", pepper="hunter2").record)
    assert 0 == old.run("backup", tmp_path / "b", SUSSURRO_KEY_PEPPER="hunter2").exit_code
    assert b"hunter2" not in (tmp_path / "b").read_bytes()
    done = new.run("restore", tmp_path / "b", "--force")

    assert "note    api_keys" in done.output
    assert "SUSSURRO_KEY_PEPPER" in done.output


def test_lists_without_a_file_are_left_to_a_person(
    old: Machine, new: Machine, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys that are set in the environment itself cannot be written from here."""
    del new.settings["SUSSURRO_API_KEYS_FILE"]
    done = new.run("restore", saved, SUSSURRO_API_KEYS=new_key("other").record)
    assert (0, True) == (done.exit_code, "tar -xOf BACKUP api_keys" in done.output), done.output
    monkeypatch.setattr(places, "OWN", new.folder / "state" / "api_keys")
    done = new.run("restore", saved, "--force")
    assert 0 == done.exit_code, done.output
    assert old.keys.read_text() == (new.folder / "state" / "api_keys").read_text()


def flipped(data: bytes, at: int) -> bytes:
    """One bit changed."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_no_changed_byte_is_put_back(new: Machine, saved: Path) -> None:
    """Anywhere in the archive: it is refused, or what comes out of it is the same."""
    data = saved.read_bytes()
    contents = archive.read(saved)
    refused = 0
    for at in range(0, len(data), 41):
        saved.write_bytes(flipped(data, at))
        try:
            assert contents == archive.read(saved)  # an owner's name, or padding
        except archive.ArchiveError:
            refused += 1
    assert refused > 100
    saved.write_bytes(flipped(data, 600))
    done = new.run("restore", saved, "--force")
    assert (1, True) == (done.exit_code, "settings.json is not as it was written" in done.output)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.8, 0.97])
def test_an_archive_that_was_cut_short(new: Machine, saved: Path, part: float) -> None:
    """Exit code 1, wherever it ends."""
    data = saved.read_bytes().rstrip(b"\0")
    saved.write_bytes(data[: int(len(data) * part)])
    done = new.run("restore", saved)

    assert (1, "") == (done.exit_code, new.keys.read_text())


def hostile(change: Callable[[tarfile.TarInfo], None]) -> bytes:
    """An archive with one member that is not ours."""
    info = tarfile.TarInfo("settings.json")
    info.size = 2
    change(info)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(info, io.BytesIO(b"{}"))
    return out.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../api_keys"},
        {"name": "/etc/passwd"},
        {"name": "engines/../../x/y/manifest.json"},
        {"name": "engines/a/b/c/../manifest.json"},
        {"name": "settings.json/../../x"},
        {"name": ".settings.json"},
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd", "size": 0},
        {"type": tarfile.LNKTYPE, "linkname": "../x", "size": 0},
        {"type": tarfile.FIFOTYPE, "size": 0},
        {"type": tarfile.CHRTYPE, "size": 0},
        {"type": tarfile.DIRTYPE, "size": 0},
        {"type": tarfile.GNUTYPE_SPARSE},
    ],
)
def test_paths_links_and_devices_are_refused(
    new: Machine, tmp_path: Path, change: dict[str, Any]
) -> None:
    """By their kind and name, before anything is read from them."""
    file = tmp_path / "hostile.tar"
    file.write_bytes(hostile(lambda info: [setattr(info, *item) for item in change.items()]))
    before = sorted(tmp_path.rglob("*"))
    done = new.run("restore", file, "--force")

    assert 1 == done.exit_code, done.output
    assert isinstance(done.exception, SystemExit)
    assert before == sorted(tmp_path.rglob("*"))


def test_a_member_that_is_there_twice(new: Machine, tmp_path: Path) -> None:
    """Two readers could take two different ones."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("api_keys"), io.BytesIO())
    (tmp_path / "twice").write_bytes(out.getvalue())

    with pytest.raises(archive.ArchiveError, match="does not belong"):
        archive.read(tmp_path / "twice")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("api_keys", b"n8n:md5:hunter2"),
        ("settings.json", b"[1]"),
        ("usage.sqlite3", b"SQLite format 3\0 and no more"),
        ("usage.sqlite3", b""),
    ],
)
def test_members_that_no_server_takes(new: Machine, tmp_path: Path, name: str, data: bytes) -> None:
    """Well packed, and yet of no use: refused before anything is written."""
    with (tmp_path / "b").open("wb") as out:
        files = {"api_keys": new_key("n8n").record.encode(), name: data}
        archive.write(out, files, {}, version="0", created="")
    done = new.run("restore", tmp_path / "b", "--force")

    assert (1, "") == (done.exit_code, new.keys.read_text()), done.output
    assert "hunter2" not in done.output


def test_a_database_that_is_damaged_is_not_backed_up(old: Machine, tmp_path: Path) -> None:
    """It is said now, and not when it is needed."""
    old.usage.write_bytes(b"SQLite format 3\0" + bytes(4080))
    done = old.run("backup", tmp_path / "b")

    assert (1, False) == (done.exit_code, (tmp_path / "b").exists())
    with pytest.raises(database.DatabaseError, match="cannot be copied"):
        database.copy_out(old.usage)
