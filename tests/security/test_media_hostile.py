"""Hostile and broken files: each ends as audio or as a clear 4xx, quickly and in little memory."""

import random
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import MAX_AUDIO_SECONDS, LoadingRoom
from media_samples import FREQUENCY, Options, Recording, encode, loudest_frequency, sine, wav

from server.errors import AudioTooLong, BadAudio, ServerError

BAIT = "bait.wav"

PLAYLISTS = {
    "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{BAIT}\n#EXT-X-ENDLIST\n",
    "hls with a mark": f"\ufeff#EXTM3U\n#EXTINF:10,\n{BAIT}\n",
    "hls over http": "#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    "ffconcat": f"ffconcat version 1.0\nfile {BAIT}\nduration 1\n",
    "dash": f'<?xml version="1.0"?>\n<MPD><Period><BaseURL>{BAIT}</BaseURL></Period></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\nc=IN IP4 127.0.0.1\n",
    "pls": f"[playlist]\nFile1={BAIT}\n",
    "asx": f'<asx version="3.0"><entry><ref href="{BAIT}"/></entry></asx>',
}


@pytest.fixture
def bait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A real recording in the working folder and in the root's reach, for playlists to name."""
    (tmp_path / BAIT).write_bytes(wav(sine(16_000, 1.0)))
    monkeypatch.chdir(tmp_path)
    return tmp_path / BAIT


@pytest.mark.parametrize("text", PLAYLISTS.values(), ids=PLAYLISTS)
def test_a_playlist_is_refused_by_name(room: LoadingRoom, bait: Path, text: str) -> None:
    """A file that names other files is told so, and none of them is opened."""
    for content in (text, text.replace(BAIT, str(bait)), text.replace(BAIT, f"file:{bait}")):
        with pytest.raises(BadAudio, match="playlist") as caught:
            room.load(content.encode())

        assert caught.value.reason == "playlist"


@pytest.mark.parametrize("text", PLAYLISTS.values(), ids=PLAYLISTS)
def test_a_playlist_dressed_as_wav_is_refused(room: LoadingRoom, bait: Path, text: str) -> None:
    """A RIFF header in front of a playlist, or around it, gives away no other file's sound."""
    playlist = text.replace(BAIT, str(bait)).encode()
    for content in (
        b"RIFF\x00\x00\x00\x00WAVE" + playlist,
        b"\n" * 4 + playlist,
        b"ID3\x03\x00\x00\x00\x00\x00\x00" + playlist,
    ):
        with pytest.raises(BadAudio):
            room.load(content)


@pytest.mark.parametrize(
    "content",
    [
        random.Random(1).randbytes(200_000),
        b"\x00" * 100_000,
        b"\xff" * 100_000,
        b"This is a letter, not a recording.\n" * 500,
        b"<html><body>502 Bad Gateway</body></html>",
        b'{"file": "speech.mp3"}',
        b"%PDF-1.7\n" + bytes(5_000),
        b"PK\x03\x04" + bytes(5_000),
        b"\x89PNG\r\n\x1a\n" + bytes(5_000),
        b"R",
    ],
    ids=["random", "zeros", "ones", "text", "html", "json", "pdf", "zip", "png", "a byte"],
)
def test_what_is_no_media_is_refused(room: LoadingRoom, content: bytes) -> None:
    """Other files say that they are not audio; nothing of FFmpeg's words gets out."""
    with pytest.raises(BadAudio, match="cannot be read as audio") as caught:
        room.load(content)

    assert caught.value.reason == "not_media"
    assert "Invalid data" not in caught.value.message


@pytest.mark.parametrize(
    "container",
    [
        ("wav", "pcm_s16le", 16_000, "mono"),
        ("mp3", "mp3", 44_100, "stereo"),
        ("flac", "flac", 44_100, "stereo"),
        ("matroska", "aac", 44_100, "mono"),
    ],
    ids=lambda c: c[0],
)
def test_half_a_file_gives_half_the_audio_and_a_warning(
    room: LoadingRoom, container: Recording
) -> None:
    """A recording that was cut off decodes as far as it goes, and says so."""
    whole = encode(*container, 8.0)

    audio = room.load(whole[: len(whole) // 2])

    assert 2.0 <= audio.duration <= 6.0
    assert "audio_truncated" in audio.warnings


def test_half_an_m4a_with_its_index_first(room: LoadingRoom) -> None:
    """An m4a whose index comes first loses only what was cut off."""
    whole = encode("ipod", "aac", 44_100, "mono", 8.0, options=(("moov_size", "20000"),))

    audio = room.load(whole[: len(whole) // 2])

    assert 2.0 <= audio.duration <= 6.0
    assert "audio_truncated" in audio.warnings


def test_half_an_m4a_with_its_index_last(room: LoadingRoom) -> None:
    """An m4a that was cut before its index cannot be read."""
    whole = encode("ipod", "aac", 44_100, "mono", 8.0)

    with pytest.raises(BadAudio, match="incomplete"):
        room.load(whole[: len(whole) // 2])


def test_an_mp3_without_a_frame_count_is_not_called_truncated(room: LoadingRoom) -> None:
    """Where the length is FFmpeg's guess, a shorter recording proves nothing."""
    loud = encode("mp3", "mp3", 44_100, "mono", 4.0, options=(("write_xing", "0"),))

    audio = room.load(loud)

    assert audio.duration == pytest.approx(4.0, abs=0.1)
    assert audio.warnings == ()


def test_damage_in_the_middle_is_skipped(room: LoadingRoom) -> None:
    """A damaged stretch becomes silence, and is told; what follows keeps its time."""
    content = bytearray(encode("flac", "flac", 16_000, "mono", 8.0))
    third = len(content) // 3
    content[third : 2 * third] = bytes(third)

    audio = room.load(bytes(content))

    assert audio.duration == pytest.approx(8.0, abs=0.1)
    assert "audio_damaged" in audio.warnings
    assert not audio.pcm[3 * 16_000 : 5 * 16_000].any()
    assert loudest_frequency(audio.pcm[-8_000:]) == pytest.approx(FREQUENCY, abs=2)


def test_exactly_the_longest_length_is_taken(room: LoadingRoom) -> None:
    """The limit itself is allowed; an encoder's padding does not break it."""
    audio = room.load(encode("mp3", "mp3", 8_000, "mono", MAX_AUDIO_SECONDS))

    assert audio.duration == pytest.approx(MAX_AUDIO_SECONDS, abs=0.25)


def test_a_second_too_long_is_refused(room: LoadingRoom) -> None:
    """The message names the limit."""
    with pytest.raises(AudioTooLong, match="60 s") as caught:
        room.load(wav(np.zeros(61 * 16_000, dtype=np.int16)))

    assert (caught.value.status, caught.value.param) == (400, "file")


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [("mp3", "mp3", (("write_xing", "0"),)), ("adts", "aac", ())],
    ids=["mp3", "aac"],
)
def test_a_bomb_of_hours_ends_at_the_limit(
    room: LoadingRoom, container: str, codec: str, options: Options
) -> None:
    """Ten hours of silence in some megabytes stop at the limit, not at their end."""
    minute = encode(container, codec, 44_100, "mono", 60.0, amplitude=0.0, options=options)

    started = time.monotonic()
    with pytest.raises(AudioTooLong):
        room.load(minute * 600)

    assert time.monotonic() - started < 5.0


def test_a_flac_bomb_ends_at_the_limit(room: LoadingRoom) -> None:
    """A quarter of an hour in a few kilobytes of FLAC is refused like any long recording."""
    bomb = encode("flac", "flac", 8_000, "mono", 900.0, amplitude=0.0)

    with pytest.raises(AudioTooLong):
        room.load(bomb)

    assert len(bomb) < 200_000


@pytest.mark.parametrize(
    ("rate", "channels"),
    [(1, 1), (0, 1), (999, 1), (2**31, 1), (2**32 - 1, 2), (16_000, 25), (16_000, 65_535)],
)
def test_forged_rates_and_channels_are_refused(room: LoadingRoom, rate: int, channels: int) -> None:
    """A header that would have the resampler make gigabytes, or divide by nothing, is refused."""
    content = bytearray(wav(sine(16_000, 0.5)))
    struct.pack_into("<HI", content, 22, channels, rate)
    struct.pack_into("<H", content, 32, 2 * channels & 0xFFFF)

    with pytest.raises(BadAudio) as caught:
        room.load(bytes(content))

    assert caught.value.reason in {"bad_header", "not_media", "no_audio_stream"}


def test_a_forged_length_is_not_believed(room: LoadingRoom) -> None:
    """A recorder that never learnt its own length leaves a huge one; what is there counts."""
    audio = room.load(wav(sine(16_000, 1.0), declared=0xFFFF_FF00))

    assert audio.duration == pytest.approx(1.0, abs=0.01)
    assert audio.warnings == ()


def test_a_table_that_asks_for_gigabytes_is_refused(room: LoadingRoom) -> None:
    """An index that claims a billion entries meets the memory limit, not the machine's end."""
    content = bytearray(encode("ipod", "aac", 44_100, "mono", 2.0))
    table = content.index(b"stsz")
    struct.pack_into(">II", content, table + 8, 0, 0x1000_0000)

    with pytest.raises(BadAudio) as caught:
        room.load(bytes(content))

    assert caught.value.reason in {"out_of_memory", "not_media", "no_samples"}


def _mutations(seed: int, content: bytes) -> bytes:
    chance = random.Random(seed)
    mutated = bytearray(content)
    match seed % 4:
        case 0:  # flip bits anywhere
            for _ in range(chance.randint(1, 40)):
                mutated[chance.randrange(len(mutated))] ^= 1 << chance.randrange(8)
        case 1:  # spoil the headers
            for _ in range(chance.randint(1, 12)):
                mutated[chance.randrange(min(512, len(mutated)))] = chance.randrange(256)
        case 2:  # cut a piece out
            start = chance.randrange(len(mutated))
            del mutated[start : start + chance.randint(1, 5_000)]
        case _:  # repeat a piece somewhere else
            start = chance.randrange(len(mutated))
            place = chance.randrange(len(mutated))
            mutated[place:place] = mutated[start : start + chance.randint(1, 5_000)]
    return bytes(mutated)


@pytest.mark.parametrize(
    "container",
    [
        ("wav", "adpcm_ms", 22_050, "mono"),
        ("mp3", "mp3", 44_100, "stereo"),
        ("ipod", "aac", 48_000, "stereo"),
        ("ogg", "opus", 48_000, "mono"),
        ("ogg", "vorbis", 44_100, "stereo"),
        ("webm", "opus", 48_000, "stereo"),
        ("flac", "flac", 44_100, "stereo"),
        ("asf", "wmav2", 44_100, "stereo"),
        ("caf", "alac", 44_100, "stereo"),
        ("mpegts", "mp2", 48_000, "stereo"),
    ],
    ids=lambda c: f"{c[0]}-{c[1]}",
)
def test_mutated_files_end_as_audio_or_as_4xx(room: LoadingRoom, container: Recording) -> None:
    """Forty spoilt variants of a file each end in time, and never as a fault of ours."""
    whole = encode(*container, 1.0)
    ends = []
    for seed in range(40):
        try:
            ends.append(room.load(_mutations(seed, whole)).duration > 0)
        except ServerError as error:
            ends.append(error.status == 400 and error.reason != "sandbox_violation")

    assert ends == [True] * 40
    assert room.loader.healthy
