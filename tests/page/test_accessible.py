"""axe, in every state, language and colour scheme; and what axe cannot see."""

import re
from pathlib import Path
from typing import Any

import pytest
from browser import AXE, Visit
from conftest import Visiting
from server_process import KEY, Start, noise


def faults(there: Visit) -> list[Any]:
    """What axe finds: rule, impact, and where."""
    there.page.wait_for_timeout(250)  # colours fade
    if not there.page.evaluate("'axe' in window"):
        there.page.evaluate(AXE.read_text(encoding="utf-8"))
    found = there.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert len(found["passes"]) > 15
    return [
        (rule["id"], rule["impact"], [node["html"] for node in rule["nodes"]])
        for rule in found["violations"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "pt"])
def test_axe_finds_nothing(
    start: Start, visit: Visiting, tmp_path: Path, language: str, scheme: str
) -> None:
    """No fault of any weight: empty, with options open, refused, done, on a phone."""
    path = tmp_path / "n.wav"
    path.write_bytes(noise(1.0))
    there = visit(start().ready().url, language, color_scheme=scheme)
    assert [] == faults(there)
    there.page.click("summary")
    there.take(path)
    assert [] == faults(there)
    there.transcribe("wsk_wrong")
    there.page.wait_for_selector("#problem:not([hidden])")
    assert [] == faults(there)
    there.transcribe(KEY.key)
    there.reach("done")
    there.page.click("#segments button")
    assert [] == faults(there)
    there.page.set_viewport_size({"width": 375, "height": 800})
    assert [] == faults(there)


def test_axe_bites(start: Start, visit: Visiting) -> None:
    """Grey on grey, and a field without a name, are found."""
    there = visit(start().ready().url)
    there.page.evaluate(
        "document.querySelector('#key-note').style.color = '#ccc',"
        "document.querySelector('label[for=key]').remove(),"
        "document.getElementById('key').placeholder = ''"
    )
    assert {"color-contrast", "label"} <= {rule for rule, *_ in faults(there)}


def test_progress_and_end_are_told_aloud(start: Start, visit: Visiting, tmp_path: Path) -> None:
    """What a live region says, in order, and no more than in tenths; failures are alerts."""
    path = tmp_path / "n.wav"
    path.write_bytes(noise(60.0))
    there = visit(start(FAKE_WINDOW_SECONDS="0.2").ready().url)
    there.page.evaluate(
        """() => { window.told = []; const region = document.getElementById('status');
        new MutationObserver(() => window.told.push(region.textContent))
          .observe(region, { childList: true, characterData: true, subtree: true }); }"""
    )
    there.take(path)
    there.transcribe(KEY.key)
    there.reach("done")
    told = [text for text in there.page.evaluate("window.told") if text]
    uploading = [text for text in told if text.startswith("Uploading, ")]

    assert ("status", "alert") == (
        there.page.get_attribute("#status", "role"),
        there.page.get_attribute("#problem", "role"),
    )
    assert [*uploading, "Transcribing…", told[-1]] == told
    assert all(re.fullmatch(r"Uploading, \d?\d?0 %", text) for text in uploading)
    assert len(set(uploading)) == len(uploading)
    assert told[-1].startswith("Done: ")


@pytest.mark.parametrize(("motion", "seconds"), [("reduce", "0s"), ("no-preference", "2.4s")])
def test_nothing_moves_for_those_who_want_rest(
    start: Start, visit: Visiting, motion: str, seconds: str
) -> None:
    """The system's wish is followed."""
    there = visit(start().ready().url, reduced_motion=motion)
    there.page.evaluate("document.getElementById('bar').removeAttribute('value')")

    assert seconds == there.page.evaluate(
        "getComputedStyle(document.getElementById('bar')).animationDuration"
    )
