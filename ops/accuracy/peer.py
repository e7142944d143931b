"""What the established implementations share when they are run beside the server.

Knows: options, versions, the loading of audio, the clocks.
Must not know: how one implementation is called, scores, reports.
A package is imported when its first clip is transcribed: remembered results need none of them.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ops.accuracy.manifest import NO_LANGUAGE, Clip
from ops.accuracy.transcripts import Hypothesis, file_sha256

SEED = 0
SAMPLE_RATE = 16_000


class PeerMissing(Exception):
    """A package that the peer needs is not installed; the message names it."""


@dataclass(frozen=True)
class PeerOptions:
    """What every peer is run with; `model_dir` holds CTranslate2's float16 weights."""

    model_dir: Path
    cache_dir: Path
    beam_size: int = 5
    word_timestamps: bool = False
    detect_language: bool = False
    threads: int = 1


class Peer:
    """What the peers share: the fingerprint, the loading of audio and the clocks."""

    name = ""
    packages: tuple[str, ...] = ()
    extra: Mapping[str, str] = {}

    def __init__(self, options: PeerOptions) -> None:
        self.options = options

    @cached_property
    def fingerprint(self) -> Mapping[str, str]:
        """Options, weights and versions.

        Raises:
            PeerMissing: a package is not installed.
        """
        try:
            versions = {package: version(package) for package in self.packages}
        except PackageNotFoundError as error:
            raise PeerMissing(f"{error.name} is not installed") from error
        options = self.options
        return {
            "weights": file_sha256(options.model_dir / "model.bin"),
            "beam_size": str(options.beam_size),
            "word_timestamps": str(options.word_timestamps),
            "detect_language": str(options.detect_language),
            "threads": str(options.threads),
            "seed": str(SEED),
            **self.extra,
            **versions,
        }

    @cached_property
    def run(self) -> Callable[[Any, str | None], Hypothesis]:
        """The loaded model as a function of (samples, language); loading is not timed."""
        run = self.load()
        import numpy as np  # noqa: PLC0415  as the peers themselves

        run(np.zeros(SAMPLE_RATE, np.float32), "en")  # compilers and caches warm up here
        return run

    def load(self) -> Callable[[Any, str | None], Hypothesis]:
        """Load the model."""
        raise NotImplementedError

    def transcribe(self, clip: Clip) -> Hypothesis:
        """The clip's text; the clocks cover decoding the media, as they do for a server."""
        from faster_whisper.audio import decode_audio  # noqa: PLC0415

        run = self.run
        given = clip.language != NO_LANGUAGE and not self.options.detect_language
        language = clip.language if given else None
        wall, cpu = time.perf_counter(), time.process_time()
        samples = decode_audio(str(clip.path), sampling_rate=SAMPLE_RATE)
        hypothesis = run(samples, language)
        return Hypothesis(
            text=hypothesis.text,
            language=hypothesis.language,
            wall_s=time.perf_counter() - wall,
            cpu_s=time.process_time() - cpu,
            segments=hypothesis.segments,
            words=hypothesis.words,
        )
