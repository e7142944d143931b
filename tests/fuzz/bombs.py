"""Small files that ask for much: hours of silence, deep and endless structures, huge metadata."""

import struct
import zlib
from collections.abc import Iterator

from media_samples import encode

BIG = 300_000
"""Bytes; enough to see whether something grows with a structure."""


def bombs() -> Iterator[tuple[str, bytes]]:
    """Every one by name."""
    yield from _silence()
    yield from _id3()
    yield from _atoms()
    yield from _ebml()
    yield from _ogg()
    yield from _chunks()
    yield from _tags()
    yield from _transport_streams()


def _silence() -> Iterator[tuple[str, bytes]]:
    for container, codec in (("mp3", "mp3"), ("adts", "aac"), ("mpegts", "mp2"), ("amr", "amr_nb")):
        rate = 8_000 if codec == "amr_nb" else 44_100
        piece = encode(container, codec, rate, "mono", 5.0, amplitude=0.0)
        yield f"an hour of silence in {container}", (piece * 720)[:2_000_000]
    for container, codec, rate in (("flac", "flac", 8_000), ("ogg", "opus", 48_000)):
        content = encode(container, codec, rate, "mono", 90.0, amplitude=0.0)
        yield f"minutes of silence in {container}", content
    # One STREAMINFO that promises 2^36 samples, and no frame
    flac = encode("flac", "flac", 8_000, "mono", 0.3)
    yield "flac of months, without sound", flac[:21] + b"\x0f\xff\xff\xff\xff" + flac[26:60]


def _synchsafe(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def _id3() -> Iterator[tuple[str, bytes]]:
    sound = encode("mp3", "mp3", 44_100, "mono", 0.3, options=(("id3v2_version", "0"),))

    def tag(frames: bytes, *, size: int | None = None, flags: int = 0, version: int = 3) -> bytes:
        length = len(frames) if size is None else size
        return b"ID3" + bytes((version, 0, flags)) + _synchsafe(length) + frames

    def frame(name: bytes, data: bytes, flags: bytes = b"\0\0") -> bytes:
        return name + struct.pack(">I", len(data)) + flags + data

    yield "id3, a tag behind a tag, 10 000 times", tag(b"") * 10_000 + sound
    yield "id3, a tag of 256 MB that is not there", tag(b"", size=0x0FFF_FFFF) + sound
    yield "id3, 10 000 frames", tag(frame(b"TXXX", b"\0a\0b") * 10_000) + sound
    yield "id3, a frame of 300 kB", tag(frame(b"COMM", b"\0eng\0" + b"x" * BIG)) + sound
    yield "id3, a frame of 4 GB", tag(b"TIT2\xff\xff\xff\xff\0\0" + bytes(100)) + sound
    bomb = zlib.compress(bytes(30_000_000))
    packed = struct.pack(">I", 30_000_000) + bomb
    yield "id3, a compressed frame of 30 MB", tag(frame(b"TIT2", packed, b"\0\x80")) + sound
    yield (
        "id3, a lying compressed frame",
        tag(frame(b"TIT2", b"\xff" * 4 + bomb, b"\0\x80")) + sound,
    )
    yield "id3, nothing but unsynchronisation", tag(b"\xff\0" * 50_000, flags=0x80) + sound
    picture = b"\0image/png\0\3\0" + b"\x89PNG\r\n\x1a\n" + bytes(1_000)
    yield "id3, 200 pictures", tag(frame(b"APIC", picture) * 200) + sound
    chapter = frame(b"CHAP", b"a\0" + b"\xff" * 16)
    yield (
        "id3, chapters in chapters",
        tag(frame(b"CTOC", b"a\0\3\xff" + b"a\0" * 255) + chapter * 2_000) + sound,
    )
    for version in (0, 1, 2, 4, 5, 255):
        yield (
            f"id3, version {version}",
            tag(frame(b"TIT2", b"\1\xff\xfea\0"), version=version) + sound,
        )
    yield "id3, text that is no text", tag(frame(b"TIT2", b"\3" + bytes(range(128, 256)))) + sound


def _atom(name: bytes, data: bytes, *, size: int | None = None) -> bytes:
    return struct.pack(">I", len(data) + 8 if size is None else size) + name + data


def _atoms() -> Iterator[tuple[str, bytes]]:
    whole = encode("ipod", "aac", 44_100, "mono", 0.3)
    start = b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42"
    for name in (b"moov", b"trak", b"udta", b"meta", b"ilst", b"wide", b"moof"):
        nested = b""
        for _ in range(5_000):
            nested = _atom(name, nested)
        yield f"mp4, {name.decode()} 5 000 deep", start + nested + whole[len(start) :]
        yield f"mp4, {name.decode()} 10 000 times", start + _atom(name, b"") * 10_000 + whole[24:]
    yield "mp4, an atom of its own end", start + _atom(b"free", b"", size=0) + whole[24:]
    for size in (1, 2, 7, 8, 0x7FFF_FFFF, 0xFFFF_FFFF):
        yield f"mp4, an atom of {size} bytes", start + _atom(b"moov", b"", size=size) + whole[24:]
    large = b"\0\0\0\x01moov" + struct.pack(">Q", 2**63 - 1)
    yield "mp4, an atom of 2^63 bytes", start + large + whole[24:]
    yield (
        "mp4, 2 000 tracks",
        start + _atom(b"moov", _atom(b"trak", _atom(b"tkhd", bytes(84))) * 2_000),
    )
    index = whole.index(b"moov") - 4
    moov = whole[index:]
    yield "mp4, its index twenty times", whole[:index] + moov * 20
    item = _atom(b"\xa9nam", _atom(b"data", b"\0\0\0\x01\0\0\0\0" + b"x" * 50))
    yield (
        "mp4, 3 000 titles",
        start
        + _atom(b"moov", _atom(b"udta", _atom(b"meta", bytes(4) + _atom(b"ilst", item * 3_000)))),
    )


def _ebml() -> Iterator[tuple[str, bytes]]:
    whole = encode("webm", "opus", 48_000, "mono", 0.3)
    head = whole[: whole.index(b"\x18\x53\x80\x67")]
    unknown = b"\x01\xff\xff\xff\xff\xff\xff\xff"
    for name, element in {
        "segment": b"\x18\x53\x80\x67",
        "cluster": b"\x1f\x43\xb6\x75",
        "tags": b"\x12\x54\xc3\x67",
        "simple tag": b"\x67\xc8",
        "chapter": b"\xb6",
        "void": b"\xec",
    }.items():
        yield (
            f"matroska, {name} 5 000 deep",
            head + b"\x18\x53\x80\x67" + unknown + (element + unknown) * 5_000,
        )
        yield (
            f"matroska, {name} 10 000 times",
            head + b"\x18\x53\x80\x67" + unknown + (element + b"\x80") * 10_000,
        )
    yield (
        "matroska, an element of 2^56 bytes",
        head + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xfe",
    )
    lacing = b"\x1f\x43\xb6\x75" + unknown + b"\xa3\x84\x81\0\0\x06\xff" * 3_000
    yield "matroska, laces of nothing", whole + lacing
    yield "matroska, itself ten times", whole * 10


def _crc(value: int) -> int:
    for _ in range(8):
        value = (value << 1 ^ (0x04C1_1DB7 if value & 0x8000_0000 else 0)) & 0xFFFF_FFFF
    return value


CRC_TABLE = [_crc(byte << 24) for byte in range(256)]
"""Ogg's: CRC-32 that is neither reflected nor inverted."""


def _page(flags: int, granule: int, serial: int, number: int, data: bytes) -> bytes:
    """An Ogg page with a true checksum."""
    segments = bytes([255] * (len(data) // 255) + [len(data) % 255])
    page = bytearray(
        b"OggS\0"
        + struct.pack("<BqIII", flags, granule, serial, number, 0)
        + bytes([len(segments)])
        + segments
        + data
    )
    checksum = 0
    for byte in page:
        checksum = (checksum << 8 ^ CRC_TABLE[checksum >> 24 ^ byte]) & 0xFFFF_FFFF
    struct.pack_into("<I", page, 22, checksum)
    return bytes(page)


def _ogg() -> Iterator[tuple[str, bytes]]:
    whole = encode("ogg", "opus", 48_000, "mono", 0.3)
    head = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0"
    tags = b"OpusTags" + struct.pack("<I", 1) + b"x" + struct.pack("<I", 0)
    begin = _page(2, 0, 1, 0, head) + _page(0, 0, 1, 1, tags)
    yield "ogg, its last page 2 000 times", whole + whole[whole.rindex(b"OggS") :] * 2_000
    yield "ogg, a page without data 5 000 times", begin + _page(0, -1, 1, 2, b"") * 5_000
    yield (
        "ogg, a packet that never ends",
        begin + _page(1, -1, 1, 2, b"\xff" * 255 * 200)[: 27 + 200] * 50,
    )
    starts = b"".join(_page(2, 0, serial, 0, head) for serial in range(2_000))
    yield "ogg, 2 000 streams", starts + whole
    yield "ogg, a stream in a stream 30 times", whole * 30
    for granule in (-1, 2**62, 2**63 - 1, -(2**63)):
        yield f"ogg, at {granule}", begin + _page(4, granule, 1, 2, b"\xfc\xff\xfe")
    endless = b"OpusTags" + struct.pack("<I", 0xFFFF_FFFF)
    yield "ogg, a vendor of 4 GB", _page(2, 0, 1, 0, head) + _page(0, 0, 1, 1, endless)
    many = (
        b"OpusTags" + struct.pack("<I", 0) + struct.pack("<I", 0x7FFF_FFFF) + b"\x01\0\0\0a" * 5_000
    )
    yield "ogg, two billion comments", _page(2, 0, 1, 0, head) + _page(0, 0, 1, 1, many[:60_000])
    for channels, family in ((0, 0), (255, 255), (255, 1), (3, 0), (64, 2)):
        odd = (
            b"OpusHead\x01"
            + bytes([channels])
            + b"\0\0\x80\xbb\0\0\0\0"
            + bytes([family])
            + bytes(300)
        )
        yield (
            f"opus, {channels} channels of family {family}",
            _page(2, 0, 1, 0, odd) + _page(0, 0, 1, 1, tags) + whole,
        )


def _chunks() -> Iterator[tuple[str, bytes]]:
    """RIFF, AIFF, CAF, AU and ASF: sizes that lie, and chunks without end."""
    sound = encode("wav", "pcm_s16le", 16_000, "mono", 0.3)
    for name in (b"LIST", b"bext", b"fact", b"id3 ", b"JUNK", b"fmt ", b"iXML", b"cart", b"SMV0"):
        for size in (0, 1, 0x7FFF_FFFF, 0xFFFF_FFFF):
            chunk = name + struct.pack("<I", size)
            yield f"wav, {name!r} of {size} bytes", sound[:12] + chunk + sound[12:]
    yield "wav, 10 000 chunks", sound[:12] + b"JUNK\0\0\0\0" * 10_000 + sound[12:]
    yield "wav, lists in lists", sound[:12] + b"LIST\xf0\xff\xff\x7fINFO" * 5_000 + sound[12:]
    yield (
        "rf64 of 2^63 bytes",
        b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0" + b"\xff" * 28 + sound[12:],
    )
    caf = encode("caf", "pcm_s16be", 48_000, "mono", 0.3)
    for name in (b"data", b"info", b"pakt", b"kuki", b"chan", b"free"):
        for size in (0, 2**31, 2**63 - 1, 2**64 - 1):
            yield (
                f"caf, {name!r} of {size} bytes",
                caf[:8] + name + struct.pack(">Q", size) + caf[8:],
            )
    for size in (0, 23, 2**31, 2**32 - 1):
        au = b".snd" + struct.pack(">IIIII", size, 2**32 - 1, 3, 16_000, 1)
        yield f"au, a head of {size} bytes", au + bytes(4_000)
    asf = encode("asf", "wmav2", 44_100, "mono", 0.3)
    for size in (0, 23, 24, 2**31, 2**63 - 1):
        yield (
            f"asf, an object of {size} bytes",
            asf[:30] + asf[:16] + struct.pack("<Q", size) + asf[30:],
        )
    yield "asf, its head 300 times", asf[:30] * 300 + asf
    avi = encode("avi", "mp3", 44_100, "mono", 0.3)
    yield "avi, lists in lists", avi[:12] + b"LIST\xff\xff\xff\x7fhdrl" * 5_000 + avi[12:]
    yield "avi, 300 streams", avi[:12] + avi[12 : avi.index(b"movi") - 8] * 30 + avi[12:]
    flv = encode("flv", "aac", 44_100, "mono", 0.3)
    nested = b"\x02\0\x0aonMetaData" + b"\x03\0\x01a" * 20_000
    script = b"\x12" + struct.pack(">I", len(nested))[1:] + bytes(7) + nested
    yield "flv, objects 20 000 deep", flv[:13] + script + flv[13:]


def _tags() -> Iterator[tuple[str, bytes]]:
    """FLAC's blocks, Vorbis comments and APE tags."""
    flac = encode("flac", "flac", 16_000, "mono", 0.3)
    stream_info, rest = flac[4:42], flac[42:]

    def block(kind: int, data: bytes, size: int | None = None) -> bytes:
        length = len(data) if size is None else size
        return bytes([kind]) + struct.pack(">I", length)[1:] + data

    head = b"fLaC\0" + stream_info[1:]
    yield "flac, 10 000 blocks", head + block(1, b"") * 10_000 + rest
    yield "flac, a block of 16 MB", head + block(4, b"", 0xFF_FFFF) + rest
    comments = struct.pack("<II", 0, 5_000) + b"\x03\0\0\0a=b" * 5_000
    yield "flac, 5 000 comments", head + block(4, comments) + rest
    yield "flac, a comment of 4 GB", head + block(4, struct.pack("<III", 0, 1, 2**32 - 1)) + rest
    picture = struct.pack(">II", 3, 2**32 - 1) + b"image/png"
    yield "flac, a picture of 4 GB", head + block(6, picture) + rest
    yield "flac, a cue sheet of nothing", head + block(5, bytes(395) + b"\xff") + rest
    mp3 = encode("mp3", "mp3", 44_100, "mono", 0.3)
    ape = b"APETAGEX" + struct.pack("<IIII", 2_000, 2**32 - 1, 2**32 - 1, 0) + bytes(8)
    yield "mp3, an APE tag of 4 GB", mp3 + ape
    wavpack = encode("wv", "wavpack", 44_100, "mono", 0.3)
    yield "wavpack, a block of 4 GB", wavpack[:4] + b"\xff" * 4 + wavpack[8:]


def _transport_streams() -> Iterator[tuple[str, bytes]]:
    whole = encode("mpegts", "aac", 44_100, "mono", 0.3)
    packets = [
        b"\x47" + struct.pack(">H", 0x4000 | pid) + b"\x10" + b"\0\0\1\xc0" + b"\xff" * 180
        for pid in range(8_192)
    ]
    yield "mpegts, 8 192 streams", (whole + b"".join(packets))[:1_600_000]
    yield "mpegts, nothing but sync", b"\x47" * 188 * 200
    yield (
        "mpegts, itself with a hole in every packet",
        b"".join(whole[at : at + 187] for at in range(0, len(whole), 188)),
    )
    yield "mpeg, starts without end", b"\0\0\1\xba" + b"\0\0\1\xc0\xff\xff" * 20_000
    yield "adts, heads without frames", b"\xff\xf1\x50\x80\0\x1f\xfc" * 10_000
    yield "mp3, heads without frames", b"\xff\xfb\x90\x64" * 10_000
    yield "ac3, heads without frames", b"\x0b\x77\0\0\x14\x40" * 10_000
    yield "amr, nothing but quiet", b"#!AMR\n" + b"\x7c" * 50_000
