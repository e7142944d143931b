"""Media to 16 kHz mono PCM, inside the sandbox; the only file that imports `av`.

Knows: PyAV and how to walk through a container that may be broken.
Must not know: the rest of the server. What it reads is hostile; nothing it says is trusted.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import av
import av.subtitles.codeccontext  # PyAV imports it at a film's first subtitles: too late in here
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.filter import Graph
from av.stream import Discard

from server.audio.loader_formats import (
    CODECS,
    FORMATS,
    MAX_CHANNELS,
    PAUSING,
    SAMPLE_RATES,
    declared_bytes,
    duration_is_declared,
    is_playlist,
)
from server.audio.loader_io import PcmFile, Rejected, Upload
from server.audio.loader_timeline import Timeline

if TYPE_CHECKING:  # generic in its stub alone
    from av.packet import Packet

SAMPLE_RATE = 16_000

MAX_DAMAGED_PACKETS = 100
"""Damaged packets that are skipped while they outnumber the good ones."""


DRAIN_SAMPLES = 16_384
"""Samples that wait in the filters before they are pulled: pulling after every frame of an mp3
costs a quarter more processor time, for each empty pull is an exception."""


def load(upload_fd: int, pcm_fd: int, max_samples: int) -> list[str]:
    """Decode the upload's best audio track into `pcm_fd`, s16le at 16 kHz mono.

    Returns: warnings, as `Audio` takes them.

    Raises:
        Rejected: with the reason why there is no audio, or too much of it.
        MemoryError: at the sandbox's limit.
    """
    upload = Upload(upload_fd)
    if upload.size == 0:
        raise Rejected("empty")
    try:
        with _open(upload) as container:
            return _decode(container, upload, PcmFile(pcm_fd, max_samples))
    except MemoryError:
        raise
    except FFmpegError as error:
        raise Rejected("playlist" if is_playlist(upload) else "not_media") from error


def _open(upload: Upload) -> InputContainer:
    # Each whitelist alone stops a playlist; the codecs' one keeps picture decoders from probing.
    options = {"format_whitelist": FORMATS, "codec_whitelist": CODECS, "protocol_whitelist": ""}
    return av.open(upload, "r", options=options, metadata_errors="replace")


def _decode(container: InputContainer, upload: Upload, pcm: PcmFile) -> list[str]:
    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream):
        raise Rejected("no_audio_stream")
    if stream.codec_context is None or stream.codec_context.codec.name not in CODECS.split(","):
        raise Rejected("unsupported_codec")
    stream.codec_context.thread_type = "NONE"
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    track = Track(container, stream)
    resampler = Resampler(pcm.append)
    start = container.start_time
    timeline = Timeline(None if start is None else start / av.time_base)
    for frame in track.frames():
        silence = timeline.silence_before(frame.time, frame.samples / max(frame.sample_rate, 1))
        if silence:
            # Without pauses of its own a format jumps only over what was lost.
            track.damaged += container.format.name not in PAUSING
            resampler.flush()
            pcm.append_silence(round(silence * SAMPLE_RATE))
        resampler.push(frame)
    resampler.flush()
    pcm.flush()
    if pcm.samples == 0:
        raise Rejected("not_media" if track.damaged else "no_samples")
    seconds = pcm.samples / SAMPLE_RATE - timeline.late_start
    cut = track.cut_off or _is_short(container, track, upload, seconds)
    warnings = {"audio_truncated": cut, "audio_damaged": track.damaged > 0}
    return [code for code, applies in warnings.items() if applies]


def _is_short(container: InputContainer, track: "Track", upload: Upload, seconds: float) -> bool:
    """Whether the file promises over 1 s and over 2 % more than these seconds."""
    declared = 0.0
    if duration_is_declared(container.format.name, upload):
        declared = track.declared_seconds()
    if total := declared_bytes(upload):
        declared = max(declared, seconds * total / upload.size)
    return declared - seconds > max(1.0, 0.02 * declared)


class Track:
    """One audio track, decoded as far as it goes; damaged packets are skipped and counted."""

    def __init__(self, container: InputContainer, stream: AudioStream) -> None:
        """Read `stream` of `container`."""
        self._container = container
        self._stream = stream
        self.damaged = 0
        self.cut_off = False

    def frames(self) -> Iterator[AudioFrame]:
        """Every frame that can be decoded; ends early where the container breaks.

        Raises:
            Rejected: not_media, when damage outweighs what is good.
        """
        good = 0
        for packet in self._packets():
            try:
                frames = packet.decode()
            except MemoryError:
                raise
            except FFmpegError as error:
                self.damaged += 1
                if self.damaged > max(good, MAX_DAMAGED_PACKETS):
                    raise Rejected("not_media") from error
                continue
            good += 1
            yield from frames

    def declared_seconds(self) -> float:
        """The length that the container gives this track; 0 if it gives none."""
        if self._stream.duration is not None and self._stream.time_base is not None:
            return float(self._stream.duration * self._stream.time_base)
        if self._container.duration is not None and len(self._container.streams) == 1:
            return self._container.duration / av.time_base
        return 0.0

    def _packets(self) -> "Iterator[Packet[AudioStream]]":
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except MemoryError:
                raise
            except FFmpegError:
                self.cut_off = True
                return
            except IndexError:
                return  # behind the last packet PyAV trips over tracks that appeared late
            yield packet


class Resampler:
    """Any audio frames in, 16 kHz mono s16 out; a new graph whenever the input's form changes.

    The graph is built by hand for `threads`: PyAV's AudioResampler starts threads of its own.
    """

    def __init__(self, sink: Callable[[memoryview], None]) -> None:
        """Hand the bytes of every frame that comes out to `sink`."""
        self._sink = sink
        self._form: tuple[str, str, int] | None = None
        self._graph: Graph | None = None
        self._queued = 0

    def push(self, frame: AudioFrame) -> None:
        """Convert one frame.

        Raises:
            Rejected: bad_header, for a form that no real recording has.
        """
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        graph = self._graph
        if graph is None or form != self._form:
            self.flush()
            if frame.sample_rate not in SAMPLE_RATES or frame.layout.nb_channels > MAX_CHANNELS:
                raise Rejected("bad_header")
            graph = self._graph = _graph(*form)
            self._form = form
        frame.pts = None  # `Timeline` has seen it; the filters need no clock
        graph.push(frame)
        self._queued += frame.samples
        if self._queued >= DRAIN_SAMPLES:
            self._queued = 0
            self._drain(graph)

    def flush(self) -> None:
        """Pull out what the filters still hold."""
        if self._graph is not None:
            self._graph.push(None)
            self._drain(self._graph)
            self._graph = None

    def _drain(self, graph: Graph) -> None:
        while True:
            try:
                frame = graph.pull()
            except (BlockingIOError, EOFError):
                return
            assert isinstance(frame, AudioFrame)
            # A plane is padded beyond its samples.
            self._sink(memoryview(frame.planes[0])[: frame.samples * 2])


def _graph(sample_format: str, layout: str, rate: int) -> Graph:
    graph = Graph()
    graph.threads = 1
    source = f"sample_fmt={sample_format}:channel_layout={layout}:sample_rate={rate}"
    try:
        graph.link_nodes(
            graph.add("abuffer", f"{source}:time_base=1/{rate}"),
            graph.add("aresample", str(SAMPLE_RATE)),
            graph.add(
                "aformat", f"sample_fmts=s16:sample_rates={SAMPLE_RATE}:channel_layouts=mono"
            ),
            graph.add("abuffersink"),
        ).configure()
    except ValueError as error:  # FFmpeg's EINVAL: a channel layout that cannot be mixed
        raise Rejected("bad_header") from error
    return graph
