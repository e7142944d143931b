"""Which media we take, by FFmpeg's names, and what a file's first bytes tell.

Knows: names of containers and codecs, and the starts of files.
Must not know: how any of them is decoded.
"""

from server.audio.loader_io import Upload

FORMATS = (
    "aac,ac3,aiff,amr,asf,au,avi,caf,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,w64,wav,wv"
)
"""Demuxers that may open an upload. None of them opens a second file."""

CODECS = (
    "aac,aac_latm,ac3,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,adpcm_swf,adpcm_yamaha,alac,amrnb,amrwb,"
    "dca,eac3,flac,g722,g726,gsm,gsm_ms,libopencore_amrnb,libopencore_amrwb,libopus,libspeex,"
    "libvorbis,mp1,mp1float,mp2,mp2float,mp3,mp3float,nellymoser,opus,pcm_alaw,pcm_bluray,pcm_dvd,pcm_f32be,"
    "pcm_f32le,pcm_f64be,pcm_f64le,pcm_mulaw,pcm_s16be,pcm_s16le,pcm_s24be,pcm_s24le,pcm_s32be,"
    "pcm_s32le,pcm_s8,pcm_u8,speex,vorbis,wavpack,wmalossless,wmapro,wmav1,wmav2,wmavoice"
)
"""Decoders that may run; no decoder of pictures or subtitles is among them."""

SAMPLE_RATES = range(1_000, 768_001)
MAX_CHANNELS = 24
"""What real recordings have; outside it, a forged header asks the resampler for gigabytes."""

PAUSING = frozenset(
    {"asf", "avi", "flv", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "mpeg", "mpegts", "ogg"}
)
"""Demuxers, by FFmpeg's full names, whose files may leave pauses out; the rest have no clock."""

_GUESSED_DURATION = frozenset({"aac", "ac3", "eac3", "mpeg", "mpegts"})
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"v=0", b"[playlist]", b"[Reference]")
_XML_PLAYLISTS = (b"<MPD", b"<asx", b"<ASX", b"<smil", b"<SmoothStreamingMedia")


def is_playlist(upload: Upload) -> bool:
    """Whether the file only names other files: HLS, ffconcat, DASH, SDP, PLS, ASX, SMIL."""
    head = upload.peek(0, 512).removeprefix(b"\xef\xbb\xbf").lstrip()
    return head.startswith(_PLAYLISTS) or any(mark in head for mark in _XML_PLAYLISTS)


def duration_is_declared(format_name: str, upload: Upload) -> bool:
    """Whether the container states its length; FFmpeg guesses it from the bit rate otherwise."""
    if format_name == "mp3":
        return _has_frame_count(upload)
    return format_name not in _GUESSED_DURATION


def declared_bytes(upload: Upload) -> int | None:
    """The length that a RIFF file (WAV, AVI) gives itself; None if it does not know.

    FFmpeg trusts the file's real length, so a cut WAV looks whole to it. A recorder that could
    not go back to its header leaves 0, or something near 2³¹ or 2³².
    """
    head = upload.peek(0, 8)
    size = int.from_bytes(head[4:], "little")
    return size + 8 if head.startswith(b"RIFF") and 0 < size < 0x7FFF_0000 else None


def _has_frame_count(upload: Upload) -> bool:
    """Whether an mp3's first frame, behind any ID3v2 tag, holds a Xing, Info or VBRI header."""
    start = 0
    head = upload.peek(0, 10)
    if head.startswith(b"ID3") and len(head) == 10:
        size = 0
        for byte in head[6:]:  # seven bits each
            size = size << 7 | byte & 0x7F
        start = 10 + size
    frame = upload.peek(start, 256)
    return any(tag in frame for tag in (b"Xing", b"Info", b"VBRI"))
