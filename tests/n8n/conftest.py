"""What the tests with n8n share: servers, the edge before them, and n8n with all its workflows."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import last_run
import pytest
from edge import Authority, traefik
from long_runs import LongRuns
from n8n_process import N8n, free_port
from place import NewN8n, Place, credentials, everything
from server_process import ROOT, Process, Start, launcher, noise

STARTED = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--write-page`."""
    parser.addoption("--write-page", action="store_true", help="write what n8n shows into docs")


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start servers that stay until the end."""
    with launcher(tmp_path_factory.mktemp("servers")) as start:
        yield start


@pytest.fixture(scope="session")
def server(launch: Start, weights_dir: Path) -> Process:
    """The server as users have it, with the real model."""
    return launch("-m", "server", SUSSURRO_WEIGHTS_DIR=str(weights_dir)).ready()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recordings that n8n may read."""
    folder = tmp_path_factory.mktemp("files")
    for name in ("en-river.ogg", "pt-chuva.ogg"):
        shutil.copy(ROOT / "tests" / "audio" / name, folder)
    (folder / "long.wav").write_bytes(noise(LongRuns.AUDIO_SECONDS))
    return folder


@pytest.fixture(scope="session")
def place(
    tmp_path_factory: pytest.TempPathFactory, launch: Start, server: Process, files: Path
) -> Iterator[Place]:
    """The servers, by http and, through Traefik, by https."""
    slow = launch(**LongRuns.SLOW).ready()
    folder = tmp_path_factory.mktemp("edge")
    authority = Authority(folder)
    port = free_port()
    with traefik(folder, authority, {"model": server.url, "slow": slow.url}) as (https, plain):
        bases = {
            "http": f"{server.url}/v1",
            "https": f"{https}/model/v1",
            "redirected": f"{plain}/model/v1",
            "slow-http": f"{slow.url}/v1",
            "slow-https": f"{https}/slow/v1",
            "failing": f"http://127.0.0.1:{port}/v1",
        }
        yield Place(files, bases, port, authority)


@pytest.fixture(scope="session")
def new_n8n(tmp_path_factory: pytest.TempPathFactory, place: Place) -> NewN8n:
    """An n8n with every credential and workflow; each call makes a copy of its own."""
    original = tmp_path_factory.mktemp("n8n")
    N8n(original, place.files, None).load(list(credentials(place)), list(everything(place)))

    def copy(*, trusting: bool = True) -> N8n:
        folder = tmp_path_factory.mktemp("n8n-copy")
        shutil.copytree(original, folder, dirs_exist_ok=True)
        return N8n(folder, place.files, place.authority.path if trusting else None)

    return copy


@pytest.fixture(scope="session")
def long_runs(new_n8n: NewN8n) -> LongRuns:
    """What takes more than five minutes, begun in the background."""
    return LongRuns(new_n8n)


@pytest.fixture(scope="session")
def n8n(request: pytest.FixtureRequest, new_n8n: NewN8n) -> N8n:
    """The n8n of most tests; the long runs go on beside it."""
    if any("long_runs" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("long_runs")
    return new_n8n()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever waits for the long runs comes last."""
    items.sort(key=lambda item: "long_runs" in getattr(item, "fixturenames", ()))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """With `--write-page` and all tests: tell docs/n8n.md what came of it."""
    stats = terminalreporter.stats
    reports = [report for kind in ("passed", "failed", "skipped") for report in stats.get(kind, ())]
    whole = config.args == ["tests/n8n"] and not config.getoption("keyword")
    if whole and config.getoption("write_page"):
        last_run.write(reports, time.monotonic() - STARTED)
