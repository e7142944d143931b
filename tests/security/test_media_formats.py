"""Honest recordings: what comes out of the loader is what went into the file."""

import numpy as np
import pytest
from conftest import LoadingRoom
from media_samples import AMPLITUDE, FREQUENCY, Recording, encode, loudest_frequency, sine, wav

from server.errors import BadAudio

SECONDS = 2.0

RECORDINGS = [
    ("wav", "pcm_s16le", 8_000, "mono"),
    ("wav", "pcm_s24le", 44_100, "stereo"),
    ("wav", "pcm_f32le", 96_000, "5.1"),
    ("wav", "pcm_mulaw", 8_000, "mono"),
    ("wav", "adpcm_ms", 22_050, "mono"),
    ("w64", "pcm_s32le", 192_000, "stereo"),
    ("aiff", "pcm_s16be", 44_100, "stereo"),
    ("au", "pcm_alaw", 8_000, "mono"),
    ("caf", "pcm_s16be", 48_000, "stereo"),
    ("mp3", "mp3", 44_100, "stereo"),
    ("mp3", "mp3", 16_000, "mono"),
    ("ipod", "aac", 48_000, "stereo"),
    ("ipod", "alac", 44_100, "stereo"),
    ("mov", "pcm_s16le", 48_000, "5.1"),
    ("3gp", "amr_nb", 8_000, "mono"),
    ("adts", "aac", 44_100, "5.1"),
    ("ogg", "opus", 48_000, "mono"),
    ("oga", "flac", 44_100, "stereo"),
    ("ogg", "vorbis", 44_100, "stereo"),
    ("webm", "opus", 48_000, "stereo"),
    ("matroska", "ac3", 48_000, "5.1"),
    ("flac", "flac", 96_000, "stereo"),
    ("asf", "wmav2", 44_100, "stereo"),
    ("amr", "amr_nb", 8_000, "mono"),
    ("ac3", "ac3", 48_000, "5.1"),
    ("eac3", "eac3", 48_000, "stereo"),
    ("avi", "mp3", 44_100, "mono"),
    ("flv", "aac", 44_100, "mono"),
    ("mpegts", "mp2", 48_000, "stereo"),
    ("vob", "mp2", 48_000, "stereo"),
]


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda r: f"{r[0]}-{r[1]}-{r[2]}-{r[3]}")
def test_every_format_keeps_length_pitch_and_level(room: LoadingRoom, recording: Recording) -> None:
    """A sine comes out as long, as high and as loud as it went in, whatever the file's form."""
    audio = room.load(encode(*recording, SECONDS))

    middle = audio.pcm[8_000:24_000] / 32_768
    assert audio.duration == pytest.approx(SECONDS, abs=0.1)
    assert loudest_frequency(middle) == pytest.approx(FREQUENCY, abs=2)
    # Codecs are lossy, and six equal channels mix to more than one of them, but never clip.
    assert 0.6 * AMPLITUDE <= np.sqrt(2 * np.mean(middle**2)) <= 1.5 * AMPLITUDE
    assert audio.warnings == ()


@pytest.mark.parametrize("container", ["mp4", "matroska", "avi"])
def test_a_film_gives_its_sound(room: LoadingRoom, container: str) -> None:
    """The sound of a film is found beside the picture, which is not decoded."""
    codec = "mp3" if container == "avi" else "aac"

    audio = room.load(encode(container, codec, 44_100, "stereo", SECONDS, video=True))

    assert audio.duration == pytest.approx(SECONDS, abs=0.1)
    assert loudest_frequency(audio.pcm[8_000:24_000]) == pytest.approx(FREQUENCY, abs=2)


def test_a_film_with_subtitles_gives_its_sound(room: LoadingRoom) -> None:
    """What PyAV needs for a track of text is there before the decoder is locked in."""
    film = encode("matroska", "aac", 44_100, "stereo", SECONDS, video=True, subtitles=True)

    assert room.load(film).duration == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("matroska", "aac"), ("matroska", "opus"), ("mp4", "aac"),
        ("mpegts", "mp2"), ("asf", "wmav2"),
    ],
)  # fmt: skip
def test_sound_stands_where_the_film_has_it(room: LoadingRoom, container: str, codec: str) -> None:
    """Sound that starts 1 s late and stops for 0.8 s keeps its place beside the picture."""
    rate = 48_000 if codec == "opus" else 44_100
    pauses = ((0.0, 1.0), (1.0, 0.8))
    film = encode(container, codec, rate, "mono", SECONDS, video=True, pauses=pauses)

    audio = room.load(film)

    loud = np.abs(audio.pcm.astype(np.float32)).reshape(-1)[: len(audio.pcm) // 160 * 160]
    sounds = loud.reshape(-1, 160).max(axis=1) > 0.5 * AMPLITUDE * 32_768
    edges = np.flatnonzero(np.diff(np.concatenate(([False], sounds, [False])).astype(int))) / 100
    assert edges == pytest.approx([1.0, 2.0, 2.8, 3.8], abs=0.08)
    assert audio.warnings == ()


def test_wav_at_our_own_rate_is_unchanged(room: LoadingRoom) -> None:
    """16 kHz mono s16 passes bit for bit."""
    samples = sine(16_000, 1.0)

    assert room.load(wav(samples)).pcm.tolist() == samples.tolist()


@pytest.mark.parametrize("channels", [3, 4, 7, 12])
def test_odd_channel_counts_are_mixed(room: LoadingRoom, channels: int) -> None:
    """Channel counts without a usual layout still give mono."""
    audio = room.load(wav(np.repeat(sine(16_000, 1.0), channels), channels=channels))

    assert audio.duration == pytest.approx(1.0, abs=0.01)
    assert loudest_frequency(audio.pcm) == pytest.approx(FREQUENCY, abs=2)


def test_silence_is_audio(room: LoadingRoom) -> None:
    """Zeros are a recording like any other."""
    audio = room.load(wav(np.zeros(16_000, dtype=np.int16)))

    assert len(audio.pcm) == 16_000
    assert not audio.pcm.any()


def test_samples_cannot_be_written(room: LoadingRoom) -> None:
    """The samples are a read-only map, so no stage can spoil them for another."""
    audio = room.load(wav(sine(16_000, 0.5)))

    assert audio.pcm.dtype == np.int16
    assert not audio.pcm.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        audio.pcm[0] = 1


def test_a_header_without_samples_is_refused(room: LoadingRoom) -> None:
    """A recording of no length is told apart from one of silence."""
    with pytest.raises(BadAudio) as caught:
        room.load(wav(np.zeros(0, dtype=np.int16)))

    assert caught.value.reason == "no_samples"


def test_an_empty_file_is_refused(room: LoadingRoom) -> None:
    """Nothing at all says so."""
    with pytest.raises(BadAudio, match="empty") as caught:
        room.load(b"")

    assert (caught.value.reason, caught.value.param) == ("empty", "file")


def test_a_silent_film_is_refused(room: LoadingRoom) -> None:
    """A video without sound says so."""
    with pytest.raises(BadAudio, match="no audio track") as caught:
        room.load(encode("mp4", "aac", 44_100, "mono", 1.0, video=True, sound=False))

    assert caught.value.reason == "no_audio_stream"
