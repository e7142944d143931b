"""What a decoder's end means to the server, above all when the decoder lies."""

import json
import signal

import pytest

from server import texts
from server.audio import media_process, zygote
from server.audio.loader_formats import CODECS, FORMATS
from server.audio.media_process import Verdict
from server.audio.refusals import MESSAGES, SIGNALS, Refusals
from server.errors import AudioTooLong, BadAudio, InternalError, ServerError

REFUSALS = Refusals(max_audio_seconds=7_200.0, load_timeout=120.0)


def end(exit_code: int, report: str = "") -> ServerError:
    """The error that a decoder's end makes."""
    with pytest.raises(ServerError) as caught:
        REFUSALS.warnings(Verdict(exit_code, report))
    return caught.value


@pytest.mark.parametrize(
    ("number", "kind", "reason"),
    [
        (signal.SIGSYS, BadAudio, "sandbox_violation"),
        (signal.SIGSEGV, BadAudio, "decoder_crashed"),
        (signal.SIGABRT, BadAudio, "decoder_crashed"),
        (signal.SIGXCPU, BadAudio, "too_slow"),
        (signal.SIGALRM, BadAudio, "too_slow"),
        (signal.SIGXFSZ, AudioTooLong, "audio_too_long"),
        (signal.SIGKILL, InternalError, "decoder_killed"),
        (signal.SIGTERM, InternalError, "decoder_killed"),
    ],
)
def test_a_fatal_signal_has_a_reason(
    number: signal.Signals, kind: type[ServerError], reason: str
) -> None:
    """A signal that a file can bring about is the file's fault; one from outside is ours."""
    error = end(-number, '{"warnings": []}')

    assert (type(error), error.reason) == (kind, reason)


def test_a_killed_decoder_has_no_success() -> None:
    """What a decoder said before a signal ended it does not count."""
    assert {end(-number, '{"warnings": []}').reason for number in SIGNALS} == set(SIGNALS.values())


@pytest.mark.parametrize("reason", [*MESSAGES, "audio_too_long"])
def test_every_known_reason_is_a_400_in_plain_words(reason: str) -> None:
    """Each reason that a decoder gives is a client error which names the file."""
    error = end(0, json.dumps({"reason": reason}))

    assert (error.status, error.param, error.reason) == (400, "file", reason)
    assert error.message.endswith(".")
    assert "{" not in error.message
    assert "ffmpeg" not in error.message.lower()


@pytest.mark.parametrize(
    "report",
    [
        "",
        "{",
        "null",
        "[]",
        '"ok"',
        "{}",
        '{"reason": "made_up"}',
        '{"reason": ["empty"]}',
        '{"reason": {"empty": 1}}',
        '{"warnings": "audio_truncated"}',
        '{"warnings": {"audio_truncated": 1}}',
        '{"fault": "IndexError"}',
        "[" * zygote.REPORT_BYTES,
        "9" * zygote.REPORT_BYTES,
        "\ufffd" * zygote.REPORT_BYTES,
    ],
)
def test_a_report_without_sense_is_a_fault_of_ours(report: str) -> None:
    """Whatever else a decoder says, the client hears one general sentence."""
    error = end(0, report)

    assert (type(error), error.message, error.reason) == (
        InternalError,
        texts.LOADER_FAILED.en,
        "decoder_fault",
    )


@pytest.mark.parametrize("code", [1, zygote.EXIT_NO_SANDBOX, zygote.EXIT_NO_REPORT])
def test_a_decoder_that_gave_up_is_a_fault_of_ours(code: int) -> None:
    """A decoder that could not lock itself down, or not report, is no success."""
    assert end(code, '{"warnings": []}').reason == "decoder_fault"


def test_only_known_warnings_pass() -> None:
    """A decoder cannot put words of its own into an answer."""
    report = json.dumps({"warnings": ["audio_damaged", "<script>", 7, None, ["x"]]})

    assert REFUSALS.warnings(Verdict(0, report)) == ("audio_damaged",)


def test_a_full_spool_is_no_fault() -> None:
    """There will be room again: 503, and when to come back."""
    error = end(0, '{"reason": "spool_full"}')

    assert (error.status, error.message, error.reason, error.retry_after) == (
        503,
        texts.NO_DISK.en,
        "spool_full",
        30,
    )


def test_the_longest_report_fits_its_message() -> None:
    """However a report is escaped on its way, it is never cut."""
    worst = json.dumps({"exit": -64, "report": "\ufffd" * zygote.REPORT_BYTES})

    assert len(worst) <= media_process._MESSAGE_BYTES


def test_the_lists_hold_no_playlist_and_no_picture() -> None:
    """No demuxer that opens other files, and no decoder of pictures, is ever let in."""
    dangerous = {"hls", "dash", "concat", "sdp", "rtsp", "applehttp", "image2", "lavfi", "imf"}
    pictures = {"mjpeg", "png", "h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "ass", "srt"}

    assert dangerous & set(FORMATS.split(",")) == set()
    assert pictures & set(CODECS.split(",")) == set()
