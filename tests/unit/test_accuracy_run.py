import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("rapidfuzz")
pytest.importorskip("httpx2")
if find_spec("whisper") is None:
    pytest.skip("openai-whisper is not installed", allow_module_level=True)

from ops.accuracy import accuracy
from ops.accuracy.manifest import COLUMNS, Clip
from ops.accuracy.markdown import render
from ops.accuracy.options import PEER_NAMES, AccuracyError, Options
from ops.accuracy.peers import PEERS
from ops.accuracy.picture import draw
from ops.accuracy.report import Report
from ops.accuracy.run import run
from ops.accuracy.session import Session
from ops.accuracy.timed import TimedText
from ops.accuracy.transcripts import Hypothesis

LONG = "red green blue black white pink gold silver"
CLIPS = {
    "en.wav": ("en", "2", "hello big world", "short"),
    "ja.wav": ("ja", "2", "東京は晴れ", "short"),
    "still.wav": ("xx", "2", "", "silence"),
    "long.wav": ("en", "60", LONG, "long"),
}
SAID = {
    "en.wav": "Hello, world!",
    "ja.wav": "東京は雨",
    "still.wav": "Thank you.",
    "long.wav": "red white pink gold silver",
}


class Handler(BaseHTTPRequestHandler):
    """Knows each clip by the file name in the form."""

    def do_POST(self) -> None:
        """Answer what is said in the file; refuse a file with another name."""
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        text = next((said for name, said in SAID.items() if f'"{name}"' in form), None)
        body = json.dumps(
            {"error": {"message": "unknown"}}
            if text is None
            else {"text": text, "language": "english"}
        ).encode()
        self.send_response(400 if text is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Stay silent."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that answers `SAID`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """`CLIPS` as a table."""
    rows = [COLUMNS]
    for name, (language, seconds, reference, kind) in CLIPS.items():
        (tmp_path / name).write_bytes(b"audio")
        rows.append((name, language, seconds, reference, "", "", "dev", kind, ""))
    path = tmp_path / "clips.tsv"
    path.write_text("\n".join("\t".join(row) for row in rows) + "\n", encoding="utf-8")
    return path


def results(manifest: Path, url: str, **options: Any) -> dict[str, Any]:
    """What a run without peers writes to results.json."""
    out = manifest.parent / "out"
    run(Options(manifest=manifest, out=out, url=url, peer=(), **options), lambda line: None)
    parsed: dict[str, Any] = json.loads((out / "results.json").read_bytes())
    return parsed


def test_a_server_is_scored_by_words_and_by_characters(manifest: Path, url: str) -> None:
    """Each language and kind has both rates; Japanese, which has no words, is in no WER."""
    report = results(manifest, url)["report"]
    rates = {
        (group["measure"], group["title"]): (score["errors"], score["units"])
        for group in report["groups"]
        for score in group["scores"].values()
    }
    expected = {
        ("WER", "all"): (4, 11),
        ("WER", "en"): (4, 11),
        ("WER", "long"): (3, 8),
        ("WER", "short"): (1, 3),
        ("CER", "all"): (19, 54),
        ("CER", "en"): (17, 49),
        ("CER", "ja"): (2, 5),
        ("CER", "long"): (14, 36),
        ("CER", "short"): (5, 18),
    }
    assert expected == rates


def test_invented_words_and_lost_runs_are_listed(manifest: Path, url: str) -> None:
    """The text said in silence stands in the report, and so does a lost run."""
    report = results(manifest, url)["report"]
    false_text = {"words": 2, "clips": 1, "texts": {"still.wav": "Thank you."}}
    assert false_text == report["false_text"]["sussurro"]
    run = {"tag": "lost", "text": "green blue black", "words": 3, "time": None}
    assert [run] == report["long_runs"]["sussurro"]["long.wav"]


def test_the_report_says_what_was_not_run(manifest: Path, url: str) -> None:
    """Peers that were not asked and clips that were not chosen are named."""
    report = results(manifest, url, clips=("language=en",))["report"]
    for name in PEER_NAMES:
        assert f"{name}: not asked for." in report["not_run"]
    assert "2 clips of 4: not chosen." in report["not_run"]


def test_a_refused_clip_is_a_failure_and_counts_as_lost(manifest: Path, url: str) -> None:
    """The server's message is listed, every word is an error, and no speed is claimed."""
    (manifest.parent / "other.wav").write_bytes(b"audio")
    table = manifest.read_text(encoding="utf-8").replace("en.wav", "other.wav")
    manifest.write_text(table, encoding="utf-8")
    report = results(manifest, url, clips=("name=other",))["report"]
    assert report["failures"] == {"sussurro": {"other.wav": "400: unknown"}}
    assert report["speed"] == {"sussurro": None}
    rates = [group["scores"]["sussurro"]["rate"] for group in report["groups"]]
    assert rates == [1.0] * 6  # all, en and short, by words and by characters


def test_detection_counts_names_and_codes(manifest: Path, url: str) -> None:
    """`english` is `en`; the stub says so of each of three spoken clips."""
    report = results(manifest, url, detect_language=True)["report"]
    assert report["detection"] == {"sussurro": [2, 3]}


def test_modes_and_parallel_requests_are_reported(manifest: Path, url: str) -> None:
    """Each mode is a column; at once, the same texts come back."""
    report = results(manifest, url, mode=("fast", "exact"), at_once=3)["report"]
    assert list(report["systems"]) == ["sussurro fast", "sussurro exact"]
    for together in report["at_once"].values():
        assert (together["requests"], together["changed"], together["failed"]) == (3, 0, 0)


def test_nothing_to_do_is_an_error(manifest: Path, url: str) -> None:
    """No clip or no system: say so before anything runs."""
    options = Options(manifest=manifest, out=manifest.parent, peer=(), no_server=True)
    with pytest.raises(AccuracyError, match="nothing to score: The server: not asked for"):
        run(options, lambda line: None)
    with pytest.raises(AccuracyError, match="no clip passes"):
        results(manifest, url, clips=("language=fi",))


def test_the_command_prints_the_report(manifest: Path, url: str) -> None:
    """The file and the terminal show the same; progress goes to the other stream."""
    out = manifest.parent / "out"
    flags = ["--manifest", str(manifest), "--url", url, "--no-peers", "--out", str(out)]
    result = CliRunner().invoke(accuracy, flags)
    assert result.exit_code == 0
    assert (out / "report.md").read_text(encoding="utf-8") in result.stdout
    assert "sussurro 4/4 long.wav" in result.stderr


def test_the_command_explains_a_bad_manifest(tmp_path: Path) -> None:
    """A mistake ends with a line and a status, not with a traceback."""
    flags = ["--manifest", str(tmp_path / "none.tsv"), "--url", "http://x", "--out", str(tmp_path)]
    result = CliRunner().invoke(accuracy, flags)
    assert (result.exit_code, result.stderr) == (1, "Error: none.tsv: No such file or directory\n")


def test_the_command_offers_every_peer() -> None:
    """The names are written down twice, so that the command line loads nothing heavy."""
    assert list(PEER_NAMES) == list(PEERS)


class Scripted:
    """A system that answers from a table; each word starts `late` seconds late."""

    fingerprint: Mapping[str, str] = {"version": "1"}

    def __init__(self, name: str, said: Mapping[str, str], late: float = 0.0) -> None:
        self.name = name
        self.said = said
        self.late = late

    def transcribe(self, clip: Clip) -> Hypothesis:
        """One word a second."""
        text = self.said[clip.name]
        words = tuple(
            TimedText(i + self.late, i + 1.0, word) for i, word in enumerate(text.split())
        )
        return Hypothesis(text=text, language="en", wall_s=0.5, cpu_s=1.0, words=words)


@pytest.fixture
def compared(tmp_path: Path) -> Report:
    """Ours against two peers: one is right, one is as bad as we are."""
    known = tuple(TimedText(i - 0.1, i + 0.5, word) for i, word in enumerate("abcd"))
    clips = [
        Clip(tmp_path / f"{n}.wav", "en", 1.0, "a b c d", "dev", "short", known if n < 2 else ())
        for n in range(6)
    ]
    right = {clip.name: "a b c d" for clip in clips}
    wrong = right | {"3.wav": "a x", "4.wav": "a b c x"}
    systems = [
        Scripted("sussurro", wrong, late=0.05),
        Scripted("openai-whisper", right),
        Scripted("faster-whisper", wrong),
    ]
    session = Session(clips, systems, lambda line: None)
    session.run()
    return session.report({}, [], words=True, detect_language=False)


def test_the_clips_that_differ_most_come_first(compared: Report) -> None:
    """Ours is held against the best peer, worst clip first; equal clips are left out."""
    assert [difference.clip for difference in compared.differing] == ["3.wav", "4.wav"]
    assert compared.differing[0].errors == {"sussurro": 3, "openai-whisper": 0}
    assert compared.differing[0].texts["sussurro"] == "a x"


def test_differences_are_ours_less_the_peers(compared: Report) -> None:
    """Worse than one peer, the same as the other, with an interval for each."""
    differences = compared.groups[0].differences
    gap, interval = differences["openai-whisper"]
    assert pytest.approx(4 / 24) == gap
    assert interval is not None
    assert interval.low <= gap <= interval.high
    assert differences["faster-whisper"][0] == 0.0


def test_word_starts_are_held_against_openai_whisper(compared: Report) -> None:
    """The judge is not judged."""
    assert list(compared.word_starts) == ["sussurro", "faster-whisper"]
    assert pytest.approx(0.05) == compared.word_starts["sussurro"].median_abs


def test_word_starts_are_held_against_known_times(compared: Report) -> None:
    """Where the manifest knows the words' places every system is judged, openai-whisper too."""
    starts = compared.known_word_starts
    assert {name: round(each.median or 0.0, 3) for name, each in starts.items()} == {
        "sussurro": 0.15,
        "openai-whisper": 0.1,
        "faster-whisper": 0.1,
    }
    assert starts["sussurro"].words == 8


def test_speed_is_time_over_audio(compared: Report) -> None:
    """Half a second for each second of audio."""
    speed = compared.speed["sussurro"]
    assert speed is not None
    assert (speed.rtf, speed.cpu_s, speed.long_rtf) == (0.5, 6.0, None)


def test_tables_line_up(compared: Report) -> None:
    """Each table's lines are equally wide, so that a terminal shows columns."""
    tables = [
        [line for line in section.splitlines() if line.startswith("|")]
        for section in render(compared).split("## ")
    ]
    widths = [{len(line) for line in table} for table in tables if table]
    assert len(widths) == 6
    assert all(len(width) == 1 for width in widths)


def test_the_picture_is_drawn(compared: Report, tmp_path: Path) -> None:
    """PNG and SVG, with every system in the legend."""
    pytest.importorskip("matplotlib")
    png, svg = draw(compared, tmp_path)
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert "sussurro" in svg.read_text(encoding="utf-8")
