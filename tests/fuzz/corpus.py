"""Hostile files, made on the spot: nothing of this is kept in the repository.

`honest` are small recordings in every container that the server takes, `hostile` are files made to
do harm; `spoilt` makes any number of new ones from both.
"""

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial

from bombs import bombs
from media_samples import Recording, encode, sine, wav

RECORDINGS: tuple[Recording, ...] = (
    ("3gp", "amr_nb", 8_000, "mono"),
    ("ac3", "ac3", 48_000, "5.1"),
    ("adts", "aac", 44_100, "5.1"),
    ("aiff", "pcm_s16be", 44_100, "stereo"),
    ("amr", "amr_nb", 8_000, "mono"),
    ("asf", "wmav1", 44_100, "mono"),
    ("asf", "wmav2", 44_100, "stereo"),
    ("au", "pcm_alaw", 8_000, "mono"),
    ("avi", "mp3", 44_100, "mono"),
    ("caf", "alac", 44_100, "stereo"),
    ("caf", "pcm_s16be", 48_000, "stereo"),
    ("eac3", "eac3", 48_000, "stereo"),
    ("flac", "flac", 44_100, "stereo"),
    ("flv", "aac", 44_100, "mono"),
    ("flv", "adpcm_swf", 44_100, "mono"),
    ("flv", "nellymoser", 8_000, "mono"),
    ("ipod", "aac", 48_000, "stereo"),
    ("ipod", "alac", 44_100, "stereo"),
    ("matroska", "ac3", 48_000, "5.1"),
    ("matroska", "wavpack", 44_100, "mono"),
    ("mov", "adpcm_ima_qt", 22_050, "mono"),
    ("mov", "pcm_s16le", 48_000, "5.1"),
    ("mp2", "mp2", 44_100, "mono"),
    ("mp3", "mp3", 44_100, "stereo"),
    ("mpegts", "aac", 44_100, "mono"),
    ("mpegts", "pcm_bluray", 48_000, "stereo"),
    ("oga", "flac", 44_100, "stereo"),
    ("ogg", "opus", 48_000, "mono"),
    ("ogg", "vorbis", 44_100, "stereo"),
    ("vob", "mp2", 48_000, "stereo"),
    ("vob", "pcm_dvd", 48_000, "stereo"),
    ("w64", "pcm_s32le", 44_100, "stereo"),
    ("wav", "adpcm_ms", 22_050, "mono"),
    ("wav", "g722", 16_000, "mono"),
    ("wav", "g726", 8_000, "mono"),
    ("wav", "pcm_f32le", 96_000, "5.1"),
    ("wav", "pcm_s24le", 44_100, "stereo"),
    ("webm", "opus", 48_000, "stereo"),
    ("wv", "wavpack", 44_100, "stereo"),
)

BAIT = "bait.wav"
"""What playlists name."""

PLAYLISTS = {
    "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{BAIT}\n#EXT-X-ENDLIST\n",
    "hls with a mark": f"\ufeff#EXTM3U\n#EXTINF:10,\n{BAIT}\n",
    "hls over http": "#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    "hls with a key": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="file:///etc/passwd"\n#EXTINF:1,\na\n',
    "ffconcat": f"ffconcat version 1.0\nfile {BAIT}\nduration 1\n",
    "dash": f'<?xml version="1.0"?>\n<MPD><Period><BaseURL>{BAIT}</BaseURL></Period></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\nc=IN IP4 127.0.0.1\n",
    "pls": f"[playlist]\nFile1={BAIT}\n",
    "asx": f'<asx version="3.0"><entry><ref href="{BAIT}"/></entry></asx>',
    "smil": f'<smil><body><audio src="{BAIT}"/></body></smil>',
}

DRESSES = {
    "bare": b"",
    "riff": b"RIFF\x00\x00\x00\x00WAVE",
    "blank lines": b"\n" * 4,
    "id3": b"ID3\x03\x00\x00\x00\x00\x00\x00",
    "ebml": b"\x1a\x45\xdf\xa3\x80",
    "ftyp": b"\0\0\0\x10ftypisom\0\0\0\0",
}


@cache
def honest() -> dict[str, bytes]:
    """A third of a second in each container, with a film in two of them."""
    found = {f"{each[0]}-{each[1]}": encode(*each, 0.3) for each in RECORDINGS}
    for container in ("mp4", "matroska"):
        found[f"film in {container}"] = encode(container, "aac", 44_100, "mono", 0.3, video=True)
    return found


@cache
def hostile() -> dict[str, bytes]:
    """Every file by name; some of them are recordings after all, which is as good an end."""
    found = {
        f"{name}, {dress}": start + text.encode()
        for name, text in PLAYLISTS.items()
        for dress, start in DRESSES.items()
    }
    for kind in (_plain, _forged, _polyglots, bombs):
        found.update(kind())
    return found


def _plain() -> Iterator[tuple[str, bytes]]:
    """What is no recording at all."""
    sound = wav(sine(16_000, 0.3))
    yield "a byte", b"R"
    yield "zeros", bytes(100_000)
    yield "ones", b"\xff" * 100_000
    yield "text", b"This is a letter, not a recording.\n" * 500
    yield "gzip of a recording", gzip.compress(sound, mtime=0)
    yield "gzip bomb", gzip.compress(bytes(20_000_000), mtime=0)
    yield "zlib of a recording", zlib.compress(sound)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr("a.wav", sound)
        writer.writestr("../../b.wav", bytes(5_000_000))
    yield "zip of recordings", archive.getvalue()


def _forged() -> Iterator[tuple[str, bytes]]:
    """Headers that promise what no recording has."""
    sound = wav(sine(16_000, 0.3))
    for rate in (0, 1, 999, 768_001, 2**31, 2**32 - 1):
        for channels in (0, 1, 25, 255, 65_535):
            content = bytearray(sound)
            struct.pack_into("<HI", content, 22, channels, rate)
            struct.pack_into("<H", content, 32, 2 * channels & 0xFFFF)
            yield f"wav of {rate} Hz, {channels} channels", bytes(content)
    for bits in (0, 1, 7, 33, 64, 65_535):
        yield f"wav of {bits} bits", sound[:34] + struct.pack("<H", bits) + sound[36:]
    for tag in (0, 2, 6, 17, 49, 85, 0x161, 0x1FF, 0xFFFE, 0xFFFF):
        yield f"wav of codec {tag}", sound[:20] + struct.pack("<H", tag) + sound[22:]
    for size in (0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF):
        yield f"wav whose data has {size} bytes", sound[:40] + struct.pack("<I", size) + sound[44:]
    for marker, places in {
        ("ipod-aac", b"mvhd"): (20, 24),
        ("ipod-aac", b"mdhd"): (16, 20),
        ("ipod-aac", b"stsz"): (8, 12),
        ("ipod-aac", b"stts"): (8, 12, 16),
        ("ipod-aac", b"stco"): (8, 12),
        ("mov-pcm_s16le", b"stsd"): (8, 32, 36, 40),
        ("flac-flac", b"fLaC"): (8, 12, 14, 18),
        ("w64-pcm_s32le", b"data"): (16, 20),
        ("caf-alac", b"desc"): (4, 12, 32, 36, 40),
        ("aiff-pcm_s16be", b"COMM"): (4, 8, 12, 16),
        ("webm-opus", b"\x44\x89"): (2, 3),
    }.items():
        whole = honest()[marker[0]]
        at = whole.index(marker[1])
        for place in places:
            for value in (0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF):
                content = bytearray(whole)
                struct.pack_into(">I", content, at + place, value)
                yield f"{marker[0]} with {value} at {marker[1]!r} + {place}", bytes(content)


def _polyglots() -> Iterator[tuple[str, bytes]]:
    """Two kinds of file in one."""
    found = honest()
    heads = {
        "pdf": b"%PDF-1.7\n1 0 obj<</Length 99999>>stream\n",
        "html": b"<!DOCTYPE html><script>alert(1)</script>",
        "gif": b"GIF89a\x01\x00\x01\x00\x80\x00\x00",
        "elf": b"\x7fELF\x02\x01\x01" + bytes(57),
        "script": b"#!/bin/sh\nexec id\n",
        "zip": b"PK\x03\x04" + bytes(26),
    }
    for name in ("mp3-mp3", "ipod-aac", "ogg-opus", "flac-flac", "mpegts-aac", "adts-aac"):
        for head, start in heads.items():
            yield f"{head} before {name}", start + found[name]
            yield f"{head} behind {name}", found[name] + start
    names = ("wav-pcm_s24le", "ogg-vorbis", "webm-opus", "mp3-mp3", "asf-wmav2", "ipod-aac")
    for first in names:
        for second in names:
            yield f"{first} and {second}", found[first] + found[second]


def spoilt(chance: random.Random) -> tuple[str, bytes]:
    """A file that has not been there before, and what it was made from."""
    files = honest() if chance.random() < 0.85 else hostile()
    name = chance.choice(list(files))
    content = bytearray(files[name][:400_000])
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        how = chance.choice(_WAYS)
        if content:
            how(chance, content)
    return name, bytes(content)


def _flip(chance: random.Random, content: bytearray, reach: int | None = None) -> None:
    for _ in range(chance.randint(1, 40)):
        content[chance.randrange(min(reach or len(content), len(content)))] ^= (
            1 << chance.randrange(8)
        )


def _cut_off(chance: random.Random, content: bytearray) -> None:
    del content[chance.randrange(len(content)) :]


def _cut_out(chance: random.Random, content: bytearray) -> None:
    start = chance.randrange(len(content))
    del content[start : start + chance.randint(1, 5_000)]


def _repeat(chance: random.Random, content: bytearray) -> None:
    start, place = chance.randrange(len(content)), chance.randrange(len(content))
    piece = bytes(content[start : start + chance.randint(1, 2_000)])
    content[place:place] = piece * chance.choice((1, 1, 2, 50))


def _odd_number(chance: random.Random, content: bytearray) -> None:
    """A number that breaks sums, somewhere in the head."""
    value = chance.choice((0, 1, 0x7F, 0x80, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 2**32 - 1))
    form = chance.choice(("<I", ">I", "<H", ">H", "<Q", ">Q"))
    size = struct.calcsize(form)
    if len(content) > size:
        place = chance.randrange(min(len(content) - size, 1_024))
        struct.pack_into(form, content, place, value & (256**size - 1))


def _splice(chance: random.Random, content: bytearray) -> None:
    """The end of another file behind the start of this one."""
    other = chance.choice(list(honest().values()))
    content[chance.randrange(len(content)) :] = other[chance.randrange(len(other)) :]


def _noise(chance: random.Random, content: bytearray) -> None:
    place = chance.randrange(len(content))
    content[place : place + chance.randint(1, 500)] = chance.randbytes(chance.randint(1, 500))


_WAYS: tuple[Callable[[random.Random, bytearray], None], ...] = (
    _flip,
    partial(_flip, reach=256),
    partial(_flip, reach=2_048),
    _cut_off,
    _cut_out,
    _repeat,
    _odd_number,
    _odd_number,
    _splice,
    _noise,
)
