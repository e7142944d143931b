"""What the page says when there is no transcript, in both languages; and that Cancel cancels."""

import re
import signal
from pathlib import Path

import pytest
from browser import Visit, launch
from conftest import TEXTS, Visiting
from failures import FAILURES, arranged, write_upload
from playwright.sync_api import Browser
from server_process import KEY, Start, noise

BY_TITLE = {failure.title: failure for failure in FAILURES}

SHOWN = {
    "A wrong key": ("fail_key", False),
    "No audio in the file": (None, False),
    "Too long": (None, False),
    "Too big": ("fail_size", False),
    "Your share is used up": ("fail_rate", True),
    "Busy": ("fail_busy", True),
    "About to stop": ("fail_starting", True),
    "Fault of the engine": ("fail_engine", True),
}
"""The text, or None for the server's own; and whether trying again is offered."""


@pytest.mark.parametrize("title", SHOWN)
def test_failures_in_plain_words(visit: Visiting, start: Start, tmp_path: Path, title: str) -> None:
    """What is wrong and what to do; where the server says when, the button waits for it."""
    failure, (name, again) = BY_TITLE[title], SHOWN[title]
    path = write_upload(failure, tmp_path)
    assert path is not None
    with arranged(failure, start, tmp_path) as place:
        for language, texts in TEXTS.items():
            there = visit(place(), language)
            there.take(path)
            there.transcribe(failure.key)
            there.page.wait_for_selector("#problem:not([hidden])")
            said = there.text("#problem-text")
            assert "ready" == there.state
            if name:
                expected = re.escape(texts[name]).replace(r"\{id\}", r"req_\w+")
                assert re.fullmatch(expected, said)
            else:
                assert re.search({"en": "[Rr]ecord|audio", "pt": "gravação|áudio"}[language], said)
            assert again is there.page.is_visible("#again")
            if title in ("Your share is used up", "Busy", "About to stop"):
                waiting = texts["again_in"].partition("{")[0]
                assert there.text("#again").startswith(waiting)
                assert there.page.is_disabled("#again")


def test_trying_again(visit: Visiting, start: Start, tmp_path: Path) -> None:
    """The button sends the same recording with the same key, and the failure goes."""
    broken = tmp_path / "broken"
    server = start(FAKE_BROKEN=str(broken)).ready()
    broken.write_text("0")
    path = tmp_path / "n.wav"
    path.write_bytes(noise(1.0))
    there = visit(server.url)
    there.take(path)
    there.transcribe(KEY.key)
    there.page.wait_for_selector("#again:not([hidden])")
    broken.unlink()
    there.page.click("#again")
    there.reach("done")

    assert "Bom dia." in there.text("#segments")
    assert not there.page.is_visible("#problem")


@pytest.mark.parametrize("key", ["", "“wsk”"])
def test_what_can_be_no_key_is_not_sent(
    visit: Visiting, start: Start, tmp_path: Path, key: str
) -> None:
    """None at all, or one that no header can hold."""
    path = tmp_path / "n.wav"
    path.write_bytes(noise(1.0))
    there = visit(start().ready().url)
    there.take(path)
    there.transcribe(key)
    there.page.wait_for_selector("#problem:not([hidden])")

    assert TEXTS["en"]["fail_key" if key else "no_key"] == there.text("#problem-text")
    assert not any(url.endswith("/transcriptions") for url in there.requests)


def test_no_microphone(browser: Browser, start: Start) -> None:
    """Not to be had: told so, and a file can still be chosen."""
    deaf = launch(browser.browser_type)
    there = Visit(deaf, start().ready().url, locale="pt-BR")
    there.page.click("#record")
    there.page.wait_for_selector("#problem:not([hidden])")

    assert TEXTS["pt"]["microphone_denied"] == there.text("#problem-text")
    assert "empty" == there.state
    there.close()
    deaf.close()


def test_cancel_stops_the_server_too(visit: Visiting, start: Start, tmp_path: Path) -> None:
    """The request ends as 499, its place is free, and the next one has it."""
    hold, begun = tmp_path / "hold", tmp_path / "begun"
    server = start(FAKE_HOLD=str(hold), FAKE_BEGUN=str(begun), SUSSURRO_MAX_REQUESTS="1").ready()
    hold.touch()
    begun.unlink()
    path = tmp_path / "n.wav"
    path.write_bytes(noise(1.0))
    there = visit(server.url)
    there.take(path)
    there.transcribe(KEY.key)
    while not begun.exists():
        there.page.wait_for_timeout(20)
    there.page.wait_for_selector(f"text={TEXTS['en']['working']}")
    there.page.click("#cancel")
    there.reach("ready")

    assert TEXTS["en"]["cancelled"] == there.text("#status")
    assert not there.page.is_visible("#cancel")
    posted = _posted(server.lines("request"))
    while not posted:
        there.page.wait_for_timeout(20)
        posted = _posted(server.lines("request"))
    assert [499] == posted
    hold.unlink()
    there.page.click("#go")
    there.reach("done")


def _posted(lines: list[dict[str, object]]) -> list[object]:
    """Statuses of transcriptions in the log."""
    return [line["status"] for line in lines if line["method"] == "POST"]


def test_a_lost_connection(visit: Visiting, start: Start, tmp_path: Path) -> None:
    """The server dies while it works; the page says so, at the top, too."""
    hold, begun = tmp_path / "hold", tmp_path / "begun"
    server = start(FAKE_HOLD=str(hold), FAKE_BEGUN=str(begun)).ready()
    hold.touch()
    begun.unlink()
    path = tmp_path / "n.wav"
    path.write_bytes(noise(1.0))
    there = visit(server.url, "pt")
    there.take(path)
    there.transcribe(KEY.key)
    while not begun.exists():
        there.page.wait_for_timeout(20)
    server.popen.send_signal(signal.SIGKILL)
    there.page.wait_for_selector("#problem:not([hidden])")

    assert TEXTS["pt"]["fail_connection"] == there.text("#problem-text")
    there.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    there.page.wait_for_selector("#health[data-level=bad]")
    assert TEXTS["pt"]["health_away"] == there.text("#health-text")


def test_a_server_that_is_not_ready(visit: Visiting, start: Start) -> None:
    """The page is there before the model is, and says so."""
    server = start(FAKE_LOAD_SECONDS="60")
    there = visit(server.url)

    assert "wait" == there.page.get_attribute("#health", "data-level")
    assert TEXTS["en"]["health_not_ready"] == there.text("#health-text")
