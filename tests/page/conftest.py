"""What the page's tests share: a browser, a server with the real model, servers that fail."""

import json
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from browser import Visit, started
from playwright.sync_api import Browser
from server_process import ROOT, Process, Start, launcher

SAMPLES = ROOT / "ops" / "samples"
TEXTS: dict[str, dict[str, str]] = json.loads(
    (ROOT / "server/http/page_files/texts.json").read_text(encoding="utf-8")
)
LOCALES = {"en": "en-US", "pt": "pt-BR"}

Visiting = Callable[..., Visit]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--write-pictures`."""
    parser.addoption(
        "--write-pictures", action="store_true", help="take the pictures in docs/images anew"
    )


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium; its microphone hears the Portuguese sample, again and again."""
    heard = tmp_path_factory.mktemp("microphone") / "heard.wav"
    with av.open(str(SAMPLES / "portuguese.ogg")) as media, wave.open(str(heard), "wb") as out:
        out.setparams((1, 2, 48_000, 0, "NONE", ""))
        resampler = av.AudioResampler("s16", "mono", 48_000)
        for frame in media.decode(audio=0):
            for piece in resampler.resample(frame):
                out.writeframes(piece.to_ndarray().tobytes())
    with started(heard) as chromium:
        yield chromium


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, weights_dir: Path) -> Iterator[Process]:
    """A server process with the real model."""
    with launcher(tmp_path_factory.mktemp("server")) as launch:
        yield launch("-m", "server", SUSSURRO_WEIGHTS_DIR=str(weights_dir)).ready()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers whose engine is a stand-in; they are killed at the end of the test."""
    with launcher(tmp_path) as launch:
        yield launch


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visiting]:
    """Open a server's page; at the end it has asked nobody else, and had nothing to complain."""
    visits = []

    def open_page(url: str, language: str = "en", **options: Any) -> Visit:
        visits.append(Visit(browser, url, locale=LOCALES[language], **options))
        return visits[-1]

    yield open_page
    for each in visits:
        each.close()
