"""Properties of what looks at media outside FFmpeg: sniffer, timeline, and the decoder's report."""

import json
import math
import os

from hypothesis import strategies as st
from target import target

from server.audio.loader_formats import FORMATS, declared_bytes, duration_is_declared, is_playlist
from server.audio.loader_io import Upload
from server.audio.loader_timeline import MAX_GAP, Timeline
from server.audio.media_process import Verdict
from server.audio.refusals import WARNINGS, Refusals
from server.errors import ServerError

REFUSALS = Refusals(60.0, 20.0)
MARKS = [b"#EXTM3U", b"ffconcat", b"v=0", b"[playlist]", b"[Reference]"]
PIECES = st.one_of(
    st.sampled_from(
        [
            *MARKS,
            b"\xef\xbb\xbf",
            b"\n",
            b" ",
            b"\0",
            b"RIFF",
            b"WAVE",
            b"ID3\3\0\0",
            b"Xing",
            b"\x7f\x7f\x7f\x7f",
            b"\xff\xfb",
            b"<MPD",
            b"<asx",
            b"<smil",
            b"x" * 500,
        ]
    ),
    st.binary(max_size=8),
)
FILES = st.lists(PIECES, max_size=6).map(b"".join)


@target(FILES, st.sampled_from(FORMATS.split(",")))
def sniffer(content: bytes, name: str) -> None:
    """Whatever a file begins with, it is looked at and not believed."""
    fd = os.memfd_create("upload")
    try:
        os.write(fd, content)
        upload = Upload(fd)
        declared = declared_bytes(upload)
        assert declared is None or 8 < declared < 1 << 31
        assert duration_is_declared(name, upload) in (True, False)
        assert upload.tell() == 0
        start = content[:512].removeprefix(b"\xef\xbb\xbf").lstrip()
        if any(start.startswith(mark) for mark in MARKS):
            assert is_playlist(upload)
    finally:
        os.close(fd)


CLOCKS = st.one_of(st.none(), st.floats(), st.floats(-10, 10), st.integers(-2000, 2000).map(float))


@target(CLOCKS, st.lists(st.tuples(CLOCKS, st.floats(0, 1e6)), max_size=20))
def timeline(start: float | None, frames: list[tuple[float | None, float]]) -> None:
    """Time stamps of any kind ask for silence that is a number, and bounded."""
    line = Timeline(start)
    for time, duration in frames:
        silence = line.silence_before(time, duration)
        assert math.isfinite(silence)
        assert 0 <= silence <= MAX_GAP


REPORTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["[" * 1_024, "9" * 1_024, '{"warnings": []}', '{"reason": "spool_full"}']),
    st.dictionaries(
        st.sampled_from(["warnings", "reason", "fault", "x"]),
        st.recursive(
            st.sampled_from([None, True, "empty", "playlist", "audio_damaged", "<script>", 1e999]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(max_size=3), inner, max_size=2)
            ),
            max_leaves=4,
        ),
        max_size=3,
    ).map(json.dumps),
)


@target(st.integers(-64, 255), REPORTS)
def decoder_reports(code: int, report: str) -> None:
    """A decoder in a stranger's hands can say a known word, or be called broken; nothing else.

    503 is for one word alone: that the disk is full.
    """
    try:
        warnings = REFUSALS.warnings(Verdict(code, report))
    except ServerError as error:
        full = '"spool_full"' in report and code == 0
        assert error.status in ((503,) if full else (400, 500))
        assert "<script>" not in error.message
    else:
        assert code == 0
        assert set(warnings) <= set(WARNINGS)
