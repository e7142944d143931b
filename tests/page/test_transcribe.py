"""From a recording to its transcript, its segments and its files, in a real browser."""

from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from browser import Visit
from conftest import SAMPLES, TEXTS, Visiting
from server_process import KEY, Process, Start, noise

ENGLISH = SAMPLES / "english.ogg"
FORMATS = {"srt": "srt", "vtt": "vtt", "text": "txt", "verbose_json": "json"}


def answer(server: Process, response_format: str) -> str:
    """What the server says to a client that asks for one format."""
    # subtitles need words, so the run that made all files had them
    fields = {"response_format": response_format}
    if response_format == "verbose_json":
        fields["timestamp_granularities[]"] = "segment"
    with server.client() as client, ENGLISH.open("rb") as file:
        response = client.post("/v1/audio/transcriptions", files={"file": file}, data=fields)
    assert httpx.codes.OK == response.status_code
    return response.text


def done(visit: Visit, file: Path = ENGLISH) -> Visit:
    """Transcribe a file."""
    visit.take(file)
    visit.transcribe(KEY.key)
    visit.reach("done")
    return visit


def test_from_an_upload_to_the_transcript(server: Process, visit: Visiting) -> None:
    """Text in timed segments, and what the recording is."""
    there = done(visit(server.url))
    said = there.text("#segments").lower()

    assert "good morning" in said
    assert "short test recording" in said
    assert "0:00" == there.text("#segments li:first-child .time")
    assert "English · 0:06" == there.text("#facts")
    assert there.text("#status").startswith("Done: ")
    assert there.page.locator("#segments li").count() == there.page.locator("#bands span").count()


def test_every_file_is_the_servers_own(server: Process, visit: Visiting, tmp_path: Path) -> None:
    """Byte by byte what a request for that format gets, from one run."""
    there = done(visit(server.url))
    posts = [url for url in there.requests if url.endswith("/transcriptions")]
    for name, ending in FORMATS.items():
        with there.page.expect_download() as download:
            there.page.click(f"[data-format={name}]")
        path = tmp_path / name
        download.value.save_as(path)
        assert f"english.{ending}" == download.value.suggested_filename
        assert answer(server, name) == path.read_bytes().decode(), name
    assert 1 == len(posts)


def test_a_click_on_a_segment_plays_from_there(server: Process, visit: Visiting) -> None:
    """In the list, and under the waveform; on the waveform itself it goes where one clicks."""
    there = done(visit(server.url))
    starts = there.page.eval_on_selector_all(
        "#segments button", "all => all.map(one => Number(one.dataset.start))"
    )
    there.page.click("#segments li:nth-child(2) button")
    there.page.wait_for_selector("#segments li:nth-child(2) [aria-current]")
    assert starts[1] <= there.at() < starts[1] + 2
    assert "Pause" == there.text("#play")

    there.page.locator("#bands span").first.click()
    there.page.wait_for_selector("#bands span:first-child[aria-current]")
    assert starts[0] <= there.at() < starts[0] + 2

    there.page.click("#play")
    there.page.click("#canvas")  # in the middle
    length = float(there.page.get_attribute("#wave", "aria-valuemax") or 0)
    assert length / 2 == pytest.approx(there.at(), abs=0.1)


def test_the_waveform_is_that_of_the_recording(
    start: Start, visit: Visiting, tmp_path: Path
) -> None:
    """Loud where it is loud, flat where it is not."""
    path = tmp_path / "half.wav"
    path.write_bytes(noise(2.0, pauses=[0.25, 0.5, 0.75]))
    there = visit(start().ready().url)
    there.take(path)
    there.page.wait_for_timeout(100)
    inked = there.page.evaluate(
        """() => { const c = document.getElementById('canvas');
        const { data } = c.getContext('2d').getImageData(0, 0, c.width, c.height);
        const half = [0, 0];
        for (let i = 3; i < data.length; i += 4)
          if (data[i] > 127) half[((i >> 2) % c.width) < c.width / 2 ? 0 : 1]++;
        return half; }"""
    )
    assert inked[0] * 3 < inked[1]


def tab_to(there: Visit, selector: str, key: str = "Tab") -> None:
    """Go there by keyboard; each stop on the way can be seen."""
    for _ in range(30):
        there.page.keyboard.press(key)
        outline = there.page.evaluate(
            """() => { const at = document.activeElement;
            const seen = at.type === 'file' ? at.nextElementSibling : at;
            return at === document.body ? 3 : parseFloat(getComputedStyle(seen).outlineWidth); }"""
        )
        assert outline >= 2, there.page.evaluate("document.activeElement.outerHTML")
        if there.page.evaluate("s => document.activeElement.matches(s)", selector):
            return
    pytest.fail(f"{selector} cannot be reached")


def test_by_keyboard_alone(server: Process, visit: Visiting) -> None:
    """Choose, transcribe, play a segment, seek, start over: without a mouse."""
    there = visit(server.url)
    keyboard = there.page.keyboard
    tab_to(there, "#file")
    with there.page.expect_file_chooser() as chooser:
        keyboard.press("Enter")
    chooser.value.set_files(ENGLISH)
    there.reach("ready")
    tab_to(there, "#key")
    keyboard.type(KEY.key)
    keyboard.press("Enter")
    there.reach("done")
    assert there.page.evaluate("document.activeElement.id === 'result-title'")

    tab_to(there, "#segments li:nth-child(2) button")
    keyboard.press("Enter")
    there.page.wait_for_selector("#segments li:nth-child(2) [aria-current]")

    tab_to(there, "#wave", "Shift+Tab")
    if not there.page.evaluate("document.getElementById('audio').paused"):
        keyboard.press(" ")  # else the way here was longer than the recording
    there.page.wait_for_selector("#play:text-is('Play')")
    keyboard.press("Home")
    assert 0 == there.at()
    keyboard.press("ArrowRight")
    assert 5 == pytest.approx(there.at(), abs=0.1)
    assert "0:05 of 0:06" == there.page.get_attribute("#wave", "aria-valuetext")
    tab_to(there, "#other")
    keyboard.press("Enter")
    there.reach("empty")
    assert there.page.evaluate("document.activeElement.id === 'file'")


@pytest.mark.parametrize("language", ["en", "pt"])
def test_on_a_phone(server: Process, visit: Visiting, language: str) -> None:
    """375 wide: nothing reaches over the edge, and what is to be touched is large enough."""
    there = visit(server.url, language, width=375, has_touch=True)
    for _ in range(2):
        assert there.page.evaluate("document.documentElement.scrollWidth") <= 375
        boxes = there.page.eval_on_selector_all(
            "button, a.button, label.button, input, summary, select",
            "all => all.filter(one => one.checkVisibility()).map(one => [one.id || one.textContent,"
            " one.getBoundingClientRect().left, one.getBoundingClientRect().right,"
            " one.getBoundingClientRect().height])",
        )
        assert [] == [box for box in boxes if box[1] < 0 or box[2] > 375 or box[3] < 32]
        if there.state == "empty":
            done(there)


def test_a_recording_can_be_dropped(start: Start, visit: Visiting) -> None:
    """Anywhere on the page."""
    there = visit(start().ready().url)
    data = there.page.evaluate_handle(
        """() => { const data = new DataTransfer();
        data.items.add(new File(['RIFF'], 'dropped.wav')); return data; }"""
    )
    there.page.dispatch_event("footer", "drop", {"dataTransfer": data})
    there.reach("ready")

    assert "dropped.wav" == there.text("#name")


def test_what_cannot_be_played_is_transcribed(
    start: Start, visit: Visiting, tmp_path: Path
) -> None:
    """Browsers know fewer formats than the server."""
    path = tmp_path / "voice.wma"
    with av.open(str(path), "w", format="asf") as out:
        stream = out.add_stream("wmav2", rate=16_000, layout="mono")
        stream.bit_rate = 64_000
        stream.codec_context.options = {"strict": "experimental"}
        stream.codec_context.open()
        samples = np.random.default_rng(5).normal(0, 0.1, (1, 16_000)).astype("float32")
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 16_000
        fifo = av.AudioFifo()
        fifo.write(frame)
        size = stream.codec_context.frame_size
        while piece := fifo.read(size):
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    there = done(visit(start().ready().url), path)

    assert TEXTS["en"]["unplayable"] == there.text("#unplayable")
    assert not there.page.is_visible("#play")
    assert None is there.page.get_attribute("#wave", "role")
    assert "Bom dia." in there.text("#segments")


def test_the_language_can_be_switched(start: Start, visit: Visiting) -> None:
    """At any time, and with it whatever is on the page."""
    there = done(visit(start().ready().url, "en"))
    there.page.click("#languages [value=pt]")

    assert "pt-BR" == there.page.get_attribute("html", "lang")
    assert "true" == there.page.get_attribute("#languages [value=pt]", "aria-pressed")
    assert there.text("#status").startswith("Pronto: ")
    shown = there.page.eval_on_selector_all(
        "[data-text]", "all => all.map(one => [one.dataset.text, one.textContent])"
    )
    static = {name: text for name, text in TEXTS["pt"].items() if "{" not in text}
    assert [] == [(name, text) for name, text in shown if static.get(name, text) != text]
    assert TEXTS["pt"]["position"] == there.page.get_attribute("#wave", "aria-label")


def test_what_is_recorded_is_transcribed(server: Process, visit: Visiting) -> None:
    """Chromium's own recorder, a microphone that hears the Portuguese sample, the real model."""
    there = visit(server.url, "pt", permissions=["microphone"])
    there.page.click("#record")
    there.reach("recording")
    there.page.wait_for_timeout(6_000)
    assert there.text("#recorded") in ("0:05", "0:06", "0:07")
    there.page.click("#stop")
    there.reach("ready")
    assert there.text("#name").startswith("sussurro-20")
    there.transcribe(KEY.key)
    there.reach("done")
    said = there.text("#segments").lower()

    assert "português · 0:0" in there.text("#facts")
    assert [] == [word for word in ("gravação", "servidor") if word not in said], said
