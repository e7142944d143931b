"""Recordings made on the spot: a sine in any container, codec, rate and layout."""

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.packet import Packet
from av.video.frame import VideoFrame

Recording = tuple[str, str, int, str]
"""container, codec, rate, layout."""

Options = tuple[tuple[str, str], ...]
"""Options of the muxer, by name."""

Pauses = tuple[tuple[float, float], ...]
"""After how much sound, and how long nothing is written: times in seconds."""

Pcm = npt.NDArray[np.int16]

FREQUENCY = 440.0
AMPLITUDE = 0.5


def sine(rate: int, seconds: float, amplitude: float = AMPLITUDE) -> Pcm:
    """int16 (n,), a sine of `FREQUENCY`."""
    time = np.arange(round(rate * seconds)) / rate
    return (amplitude * 32767 * np.sin(2 * np.pi * FREQUENCY * time)).astype(np.int16)


@cache
def encode(
    container: str,
    codec: str,
    rate: int,
    layout: str,
    seconds: float = 2.0,
    *,
    amplitude: float = AMPLITUDE,
    video: bool = False,
    sound: bool = True,
    subtitles: bool = False,
    options: Options = (),
    pauses: Pauses = (),
) -> bytes:
    """A file with the same sine on every channel.

    `video` adds a black picture track, `subtitles` one of text.
    `pauses` are holes in the sound's time stamps: nothing is written there.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, options=dict(options)) as output:
        track = output.add_stream(codec, rate=rate, layout=layout) if sound else None
        if track is not None:
            track.bit_rate = 12_200 if codec == "amr_nb" else 64_000
            track.codec_context.options = {"strict": "experimental"}
        texts = output.add_stream("ass") if subtitles else None
        if texts is not None:
            texts.codec_context.time_base = Fraction(1, 1000)
        picture = output.add_stream("mpeg4", rate=10) if video else None
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
            for index in range(round(seconds * 10)):
                frame = VideoFrame(64, 64, "yuv420p")
                frame.pts, frame.time_base = index, Fraction(1, 10)
                output.mux(picture.encode(frame))
            output.mux(picture.encode(None))
        if track is not None:
            if not track.codec_context.is_open:  # the picture's first packet opens every track
                track.codec_context.open()
            samples = sine(rate, seconds, amplitude)
            for sound_frame in _frames(samples, track.codec_context, layout, pauses):
                output.mux(track.encode(sound_frame))
            output.mux(track.encode(None))
        if texts is not None:
            text = Packet(b"0,0,Default,,0,0,0,,Bom dia.")
            text.stream, text.pts, text.dts = texts, 0, 0
            text.time_base = Fraction(1, 1000)
            output.mux(text)
    return buffer.getvalue()


def _frames(
    samples: Pcm, codec: av.AudioCodecContext, layout: str, pauses: Pauses
) -> Iterator[AudioFrame]:
    channels = av.AudioLayout(layout).nb_channels
    frame = AudioFrame.from_ndarray(np.tile(samples, (channels, 1)), format="s16p", layout=layout)
    frame.sample_rate = codec.sample_rate
    fifo = AudioFifo()
    for converted in AudioResampler(codec.format, layout, codec.sample_rate).resample(frame):
        converted.pts = None
        fifo.write(converted)
    position = 0
    while (piece := fifo.read(codec.frame_size or 1024, partial=True)) is not None:
        rate = codec.sample_rate
        hole = sum(pause for at, pause in pauses if at * rate <= position)
        piece.pts, piece.time_base = position + round(hole * rate), Fraction(1, rate)
        position += piece.samples
        yield piece


def wav(
    samples: Pcm, *, rate: int = 16_000, channels: int = 1, declared: int | None = None
) -> bytes:
    """A WAV by hand; `rate`, `channels` and the `declared` data size may lie."""
    data = samples.astype("<i2").tobytes()
    size = len(data) if declared is None else declared
    frame = 2 * channels
    return (
        struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE")
        + struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * frame, frame, 16)
        + struct.pack("<4sI", b"data", size)
        + data
    )


def loudest_frequency(pcm: npt.NDArray[Any], rate: int = 16_000) -> float:
    """The peak of the spectrum, in Hz."""
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * rate / len(pcm))
