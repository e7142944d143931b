import hashlib
import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from engine_build import weights
from engine_build.dims import SIZES
from engine_build.errors import WeightsError

CONTENT = bytes(range(256)) * 9000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Place(BaseHTTPRequestHandler):
    """The official place, as far as one file goes."""

    files: ClassVar[dict[str, bytes]] = {}
    length: ClassVar[int | None] = None
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        content = self.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(self.length or len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def base_url() -> Iterator[str]:
    """Where the file lies under its hash."""
    Place.files = {f"/{SHA256}/tiny.pt": CONTENT}
    Place.length = None
    Place.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Place)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(folder: Path, base_url: str, sha256: str = SHA256) -> Path:
    return weights.fetch("tiny", folder, lambda _: None, base_url=base_url, sha256=sha256)


def test_the_official_file_is_fetched_once(tmp_path: Path, base_url: str) -> None:
    """It is checked, kept, and not asked for again."""
    path = fetch(tmp_path / "cache", base_url)
    assert CONTENT == path.read_bytes()
    assert path == fetch(tmp_path / "cache", base_url)
    assert [f"/{SHA256}/tiny.pt"] == Place.asked
    assert [path] == list((tmp_path / "cache").iterdir())


def test_other_bytes_are_not_kept(tmp_path: Path, base_url: str) -> None:
    """Whatever was sent under that name."""
    Place.files = {f"/{SHA256}/tiny.pt": CONTENT[:-1] + b"!"}
    with pytest.raises(WeightsError, match=f"pinned is {SHA256}"):
        fetch(tmp_path, base_url)
    assert [] == list(tmp_path.iterdir())


def test_what_a_killed_download_left_is_removed(tmp_path: Path, base_url: str) -> None:
    """Gigabytes that nobody would miss; those of a download that runs stay."""
    dead, alive = tmp_path / ".tiny.pt.4194305", tmp_path / f".tiny.pt.{os.getppid()}"
    for left in (dead, alive):
        left.write_bytes(b"half")
    fetch(tmp_path, base_url)
    assert {"tiny.pt", alive.name} == {path.name for path in tmp_path.iterdir()}


def test_a_download_that_breaks_off_is_not_kept(tmp_path: Path, base_url: str) -> None:
    """Fewer bytes than were announced."""
    Place.length = len(CONTENT) + 10
    with pytest.raises(WeightsError, match=r"broke off|IncompleteRead"):
        fetch(tmp_path, base_url)
    assert [] == list(tmp_path.iterdir())


def test_more_than_there_is_room_for_is_refused(tmp_path: Path, base_url: str) -> None:
    """Before anything is written."""
    Place.length = weights.MAX_BYTES + 1
    with pytest.raises(WeightsError, match="there is room for"):
        fetch(tmp_path, base_url)


def test_without_the_official_place_a_file_of_ones_own_is_asked_for(
    tmp_path: Path, base_url: str
) -> None:
    """The message says how."""
    with pytest.raises(WeightsError, match=r"404.*name a file of your own with --weights"):
        fetch(tmp_path, base_url, "0" * 64)
    with pytest.raises(WeightsError, match="no http address"):
        fetch(tmp_path, "file:///etc")


def test_a_file_that_was_changed_is_not_used(tmp_path: Path, base_url: str) -> None:
    """Nor overwritten: it is somebody's."""
    path = fetch(tmp_path, base_url)
    path.write_bytes(b"mine")
    with pytest.raises(WeightsError, match="is not the official tiny"):
        fetch(tmp_path, base_url)
    assert b"mine" == path.read_bytes()


def test_a_file_of_ones_own_has_to_be_vouched_for(tmp_path: Path) -> None:
    """By its hash, unless it is the official one."""
    path = tmp_path / "mine.pt"
    path.write_bytes(CONTENT)
    with pytest.raises(WeightsError, match=f"the official one of tiny.*say --sha256 {SHA256}"):
        weights.local("tiny", path, None)
    with pytest.raises(WeightsError, match="the one given with --sha256 is 0000"):
        weights.local("tiny", path, "0" * 64)
    assert path == weights.local("tiny", path, SHA256)
    with pytest.raises(WeightsError, match="neither a checkpoint nor a folder"):
        weights.local("tiny", tmp_path, SHA256)


def test_a_folder_is_vouched_for_by_its_numbers(tiny_dir: Path) -> None:
    """The hash is that of `model.bin`."""
    digest = hashlib.sha256((tiny_dir / "model.bin").read_bytes()).hexdigest()
    assert tiny_dir == weights.local("tiny", tiny_dir, digest)


def test_the_official_models_are_those_we_have_plans_for() -> None:
    """Names, and hashes of the right form, all different."""
    url, hashes = weights.official()
    assert list(SIZES) == list(hashes)
    assert url.startswith("https://")
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in hashes.values())
    assert len(set(hashes.values())) == len(hashes)
    assert ("large-v3", "large-v3-turbo") == tuple(map(weights.known_model, ("large", "turbo")))
    with pytest.raises(WeightsError, match="'huge'; there are tiny, base"):
        weights.known_model("huge")
