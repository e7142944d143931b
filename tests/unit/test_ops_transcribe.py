"""`ops transcribe` without a server: what is to be done, how fast, what is written."""

import json
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from ops.__main__ import main
from ops.transcribe.pace import Pace
from ops.transcribe.plan import Job, PlanError, plan
from ops.transcribe.results import asked, bodies, write
from server.formats import RESPONSE_FORMATS, ResponseFormat, render
from server.types import Segment, Transcript, Word


def touch(folder: Path, *names: str) -> None:
    """Empty files, and the folders that they are in."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def outputs(folder: Path, jobs: list[Job]) -> dict[str, list[str]]:
    """Recordings and where their results go, from a folder."""
    return {
        str(job.source.relative_to(folder)): [
            str(path.relative_to(folder)) for path in job.outputs.values()
        ]
        for job in jobs
    }


def test_a_folder_is_looked_through(tmp_path: Path) -> None:
    """Recordings in it and below it, once each, whatever else is there or hidden."""
    touch(tmp_path, "b/c.OPUS", "a.mp3", "a.txt", "notes.md", ".x.mp3", ".git/y.mp3")
    jobs = plan([tmp_path, tmp_path / "a.mp3"], ["srt"], None)

    assert {"a.mp3": ["a.srt"], "b/c.OPUS": ["b/c.srt"]} == outputs(tmp_path, jobs)


def test_results_elsewhere_keep_the_folders(tmp_path: Path) -> None:
    """Below the output folder as below the one that was named."""
    touch(tmp_path, "in/b/c.mp3", "in/a.mp3")
    jobs = plan([tmp_path / "in"], ["text", "verbose_json"], tmp_path / "out")

    expected = {
        "in/a.mp3": ["out/a.txt", "out/a.json"],
        "in/b/c.mp3": ["out/b/c.txt", "out/b/c.json"],
    }
    assert expected == outputs(tmp_path, jobs)


def test_recordings_that_differ_in_their_extension_alone(tmp_path: Path) -> None:
    """Both keep theirs; nothing is written twice."""
    touch(tmp_path, "a.mp3", "a.wav", "b.wav")
    jobs = plan([tmp_path], ["text"], None)

    expected = {"a.mp3": ["a.mp3.txt"], "a.wav": ["a.wav.txt"], "b.wav": ["b.txt"]}
    assert expected == outputs(tmp_path, jobs)


def test_two_recordings_for_one_result_are_refused(tmp_path: Path) -> None:
    """From two folders into one."""
    touch(tmp_path, "x/a.mp3", "y/a.mp3")
    with pytest.raises(PlanError, match=r"a\.mp3\.txt"):
        plan([tmp_path / "x", tmp_path / "y"], ["text"], tmp_path / "out")


def test_what_is_there_is_not_asked_for(tmp_path: Path) -> None:
    """One of two results: the other one is left to do, and what a person changed stays."""
    touch(tmp_path, "a.mp3", "a.txt")
    (job,) = plan([tmp_path], ["text", "srt"], None)

    assert {"srt": tmp_path / "a.srt"} == job.left().outputs


def transcript() -> Transcript:
    """A short one, with what JSON has to escape."""
    words = (Word(0.0, 0.5, " B\u00e1", 0.5), Word(0.5, 1.0, ' "<b>".', 0.5))
    segment = Segment(0, 0, 0.0, 1.0, ' B\u00e1 "<b>".', (1, 2), 0.0, -0.1, 1.0, 0.0, words)
    return Transcript("transcribe", "pt", 1.0, segment.text, (segment,), words)


@pytest.mark.parametrize(
    "wanted",
    [("text",), ("srt", "vtt"), ("text", "json"), ("vtt", "verbose_json"), RESPONSE_FORMATS],
)
def test_formats_out_of_one_answer_are_the_servers(wanted: tuple[ResponseFormat, ...]) -> None:
    """The same bytes as answers to a request for each."""
    fields = asked(wanted, words=False)
    assert {"response_format", "x_formats"} >= fields.keys()
    also = json.loads(fields.get("x_formats", "[]"))
    answer = render(transcript(), fields["response_format"], also=also).data.decode()

    expected = {name: render(transcript(), name).data for name in wanted}
    assert expected == bodies(answer, wanted)


def test_words_are_asked_for_with_what_has_them() -> None:
    """Other formats have no place for them."""
    assert "timestamp_granularities" in asked(("srt", "verbose_json"), words=True)
    assert "timestamp_granularities" not in asked(("srt", "text"), words=True)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"x_formats": {}}', '{"x_formats": null}'])
def test_an_answer_without_the_formats(text: str) -> None:
    """Whoever answers, it is said."""
    with pytest.raises(ValueError, match="does not have the formats"):
        bodies(text, ("srt", "vtt"))


def test_a_result_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """Neither a part of it nor its name."""
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OSError, match=r"a\.txt"):
        write(tmp_path / "a.txt", b"text")

    assert ["a.txt"] == [path.name for path in tmp_path.iterdir()]


def test_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2, before anything is sent; there is no option for the key itself."""
    file = tmp_path / "a.wav"
    file.touch()
    monkeypatch.setenv("OPENAI_API_KEY", " ")
    for arguments, message in (
        ([file, "-f", "json", "-f", "verbose_json"], "has all of json"),
        ([file, "--word-timestamps"], "only verbose_json has words"),
        ([file, "--field", "mode"], "NAME=VALUE"),
        ([tmp_path / "none"], "does not exist"),
        ([file], "set OPENAI_API_KEY"),
        ([file, "--api-key", "wsk_a"], "No such option"),
    ):
        done = CliRunner().invoke(main, ["transcribe", *map(str, arguments)])
        assert (2, True) == (done.exit_code, message in done.output), done.output


class Clock:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_full_server_is_sent_half_as_many() -> None:
    """Refusals of one moment count once; answers bring one more a round, up to the bound."""
    clock = Clock()
    pace = Pace(8, clock)
    pace.pause(2.0)
    pace.pause(1.0)
    assert 4 == pace.limit
    clock.now = 2.0
    pace.pause(1.0)
    assert 2 == pace.limit
    for _ in range(100):
        pace.answered()
    assert 8 == pace.limit


def test_never_fewer_than_one() -> None:
    """A server that is always full is asked on."""
    clock = Clock()
    pace = Pace(2, clock)
    for _ in range(5):
        clock.now += 10.0
        pace.pause(1.0)
    assert 1 == pace.limit


def test_a_pause_and_a_full_round_let_nobody_begin() -> None:
    """Whoever waits begins when both are over."""
    pace, begun = Pace(1), threading.Event()

    def begin() -> None:
        with pace.turn():
            begun.set()

    with pace.turn():
        thread = threading.Thread(target=begin)
        thread.start()
        assert not begun.wait(0.05)
        pace.pause(0.1)
    assert not begun.wait(0.05)
    assert begun.wait(5.0)
    thread.join()
