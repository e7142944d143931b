"""How small and how quick the page is; and pictures of it."""

import statistics
import sys
from pathlib import Path

import pytest
from conftest import SAMPLES, Visiting
from server_process import KEY, ROOT, Process

LIMIT_BYTES = 100_000
LIMIT_MS = 200
TRIES = 9
PICTURES = ROOT / "docs" / "images"


def test_it_is_small_and_there_at_once(
    server: Process, visit: Visiting, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes of everything that is loaded, as Chromium counts them; the median first paint."""
    visits = [visit(server.url) for _ in range(TRIES)]
    paints = [
        each.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        for each in visits
    ]
    sizes = {url: size for url, size in visits[0].sizes.items() if "/readyz" not in url}
    total, paint = sum(sizes.values()), statistics.median(paints)
    with capsys.disabled():
        sys.stdout.write(
            f"\npage: {total} bytes in {len(sizes)} requests, first paint {paint:.0f} ms\n"
        )

    assert len(sizes) > 10
    assert 20_000 < total < LIMIT_BYTES
    assert paint < LIMIT_MS


@pytest.mark.parametrize(
    ("name", "language", "scheme", "width"),
    [
        ("page-light", "en", "light", 820),
        ("page-dark", "en", "dark", 820),
        ("page-phone", "pt", "light", 375),
    ],
)
def test_pictures(
    server: Process,
    visit: Visiting,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    name: str,
    language: str,
    scheme: str,
    width: int,
) -> None:
    """Of a real transcription; with `--write-pictures` they are those of the documents."""
    there = visit(server.url, language, width=width, color_scheme=scheme)
    there.take(SAMPLES / ("english.ogg" if language == "en" else "portuguese.ogg"))
    there.transcribe(KEY.key)
    there.reach("done")
    there.page.click("#segments li:last-child button")
    there.page.click("#play")
    there.page.evaluate("document.getElementById('audio').currentTime += 0.9")
    there.page.mouse.move(1, 1)
    there.page.evaluate("document.activeElement.blur()")
    there.page.wait_for_timeout(300)
    folder = PICTURES if request.config.getoption("--write-pictures") else tmp_path
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.png"
    there.page.screenshot(path=path, full_page=True)

    assert 10_000 < path.stat().st_size < 120_000
    assert PICTURES.joinpath(f"{name}.png").is_file()
