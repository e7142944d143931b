"""The two files of a media decoder: the upload that it reads and the samples that it writes.

Knows: file descriptors, offsets and the cap on samples.
Must not know: FFmpeg, containers, codecs.
"""

import errno
import io
import os
import wave

_WRITE_BYTES = 1 << 18


class Rejected(Exception):
    """The file cannot be loaded; `reason` is one of the parent's codes."""

    def __init__(self, reason: str) -> None:
        """Keep the reason and nothing of FFmpeg's words."""
        super().__init__(reason)
        self.reason = reason


class Upload:
    """A file object over a descriptor; `pread` leaves the shared file offset alone."""

    def __init__(self, fd: int) -> None:
        """Take the descriptor's size now; the upload no longer grows."""
        self._fd = fd
        self._position = 0
        self.size = os.lseek(fd, 0, os.SEEK_END)

    def read(self, size: int) -> bytes:
        """At most `size` bytes; empty at the end."""
        data = os.pread(self._fd, size, self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move and say where we are."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        """Where we are."""
        return self._position

    def peek(self, start: int, size: int) -> bytes:
        """Bytes from anywhere, without moving."""
        return os.pread(self._fd, size, start)


class PcmFile:
    """The output: counts samples, gathers small writes, stops at the limit."""

    def __init__(self, fd: int, max_samples: int) -> None:
        """Write s16 samples to `fd`, at most `max_samples`."""
        self._fd = fd
        self._max_samples = max_samples
        self._pending = bytearray()
        self.samples = 0

    def append(self, pcm: memoryview) -> None:
        """Add s16 mono, as bytes.

        Raises:
            Rejected: audio_too_long, spool_full.
        """
        self.samples += len(pcm) // 2
        if self.samples > self._max_samples:
            raise Rejected("audio_too_long")
        self._pending += pcm
        if len(self._pending) >= _WRITE_BYTES:
            self.flush()

    def append_silence(self, samples: int) -> None:
        """Add zeros.

        Raises:
            Rejected: audio_too_long, spool_full.
        """
        while samples > 0:
            count = min(samples, _WRITE_BYTES // 2)
            self.append(memoryview(bytes(2 * count)))
            samples -= count

    def flush(self) -> None:
        """Write out what is gathered.

        Raises:
            Rejected: spool_full.
        """
        written = 0
        try:
            with memoryview(self._pending) as view:
                while written < len(view):
                    written += os.write(self._fd, view[written:])
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise Rejected("spool_full") from error
            raise
        self._pending.clear()


def tiny_wav() -> bytes:
    """A tenth of a second of silence, at a rate that needs the resampler."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as clip:
        clip.setparams((2, 2, 8_000, 800, "NONE", "not compressed"))
        clip.writeframes(bytes(800 * 4))
    return buffer.getvalue()
