"""The values that travel through the server: audio in, windows, tokens, transcript out.

Knows: shapes, dtypes and units.
Must not know: HTTP, engines, files, settings.
Every class is frozen and slotted, so a value can be shared between threads without a lock.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16_000
"""Samples a second that Whisper was trained on."""

FRAMES_PER_SECOND = 100
"""Log-mel frames a second: a hop of 160 samples."""

WINDOW_SECONDS = 30.0
"""The longest stretch of audio that Whisper sees at once."""

Samples: TypeAlias = npt.NDArray[np.float32]
"""float32 (n,), 16 kHz mono, in [-1, 1]."""

Pcm: TypeAlias = npt.NDArray[np.int16]
"""int16 (n,), 16 kHz mono; a memory map of an unlinked file, so that hours cost no memory."""

LogMel: TypeAlias = npt.NDArray[np.float32]
"""float32 (n_mels, n_frames): 3000 frames of 10 ms, or an even number of fewer."""

Encoded: TypeAlias = object
"""An engine's own form of the encoder's output; only the engine that made it may read it."""

Task: TypeAlias = Literal["transcribe", "translate"]

Mode: TypeAlias = Literal["fast", "accurate"]
"""`fast` decodes windows side by side; `accurate` one after the other, each with the text before
it, as openai-whisper does."""


@dataclass(frozen=True, slots=True)
class Audio:
    """A decoded recording.

    `pcm` is int16, the precision at which openai-whisper itself loads audio.
    `warnings` are short codes of what went wrong without stopping us (`audio_truncated`).
    """

    pcm: Pcm
    warnings: tuple[str, ...] = ()

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.pcm) / SAMPLE_RATE

    def samples(self, start: int, stop: int) -> Samples:
        """Samples `start` to `stop` as float32 in [-1, 1]; clipped to the recording."""
        return self.pcm[max(start, 0) : stop].astype(np.float32) / 32768.0


@dataclass(frozen=True, slots=True)
class SpeechSegment:
    """A stretch of audio, as sample offsets into the recording: `start` ≤ t < `end`."""

    start: int
    end: int

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return (self.end - self.start) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Window:
    """At most 30 s of a recording: samples `start` ≤ t < `end`, as the encoder hears them."""

    start: int
    end: int
    features: LogMel

    @property
    def time_offset(self) -> float:
        """The window's start in seconds of the recording."""
        return self.start / SAMPLE_RATE

    @property
    def duration(self) -> float:
        """Seconds of audio; what follows in the features is padding."""
        return (self.end - self.start) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class ServerVad:
    """OpenAI's voice detector, as a caller may set it; names and defaults are OpenAI's.

    A stretch is voice where it is at least `threshold` likely to be; a silence counts from
    `silence_duration_ms` on, and a cut leaves `prefix_padding_ms` before the voice.
    """

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 200


@dataclass(frozen=True, slots=True)
class TranscriptionOptions:
    """What a caller may ask of a transcription; names and defaults are openai-whisper's.

    `temperatures` is the fallback ladder: the first one is tried, the next only on failure.
    `language` is a Whisper code, None to detect it: among `languages` if there are any, and
    `default_language` where detection is a guess. `hotwords` go before every window, `prompt`
    before the first one. With `server_vad` a recording is cut where no voice is heard.
    """

    task: Task = "transcribe"
    mode: Mode = "fast"
    language: str | None = None
    languages: tuple[str, ...] = ()
    default_language: str | None = None
    prompt: str | None = None
    hotwords: str | None = None
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    beam_size: int = 5
    best_of: int = 5
    patience: float = 1.0
    length_penalty: float = 1.0
    word_timestamps: bool = False
    compression_ratio_threshold: float = 2.4
    logprob_threshold: float = -1.0
    no_speech_threshold: float = 0.6
    max_initial_timestamp: float = 1.0
    server_vad: ServerVad | None = None


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """The hashable slice of the options that an engine sees; equal values may share a batch.

    `temperature` 0 means beam search (or greedy at `beam_size` 1); above 0 it samples
    `num_hypotheses` candidates.
    """

    beam_size: int = 5
    num_hypotheses: int = 1
    temperature: float = 0.0
    patience: float = 1.0
    length_penalty: float = 1.0
    max_new_tokens: int = 224
    suppress_tokens: tuple[int, ...] = ()
    suppress_blank: bool = True
    max_initial_timestamp_index: int = 50


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One window for an engine.

    Exactly one of `features` and `encoded` is needed; with both, `encoded` wins.
    `prompt` ends with the task tokens (`<|startoftranscript|>`, language, task, …).
    `deadline` is a `time.monotonic()` instant. Somebody reads along where it is `urgent`: an engine
    that decodes windows in batches does not let it wait for others. `beside` is how many windows
    of its recording are decoded side by side, this one included: they come one after the other.
    """

    request_id: int
    prompt: tuple[int, ...]
    options: GenerationOptions
    features: LogMel | None = None
    encoded: Encoded | None = None
    deadline: float | None = None
    urgent: bool = False
    beside: int = 1


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """Tokens without prompt and without end-of-text; `sum_logprob` includes end-of-text."""

    tokens: tuple[int, ...]
    sum_logprob: float

    @property
    def avg_logprob(self) -> float:
        """openai-whisper's average: the end-of-text token counts (decoding.py)."""
        return self.sum_logprob / (len(self.tokens) + 1)


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """What an engine hands back; `encoded` may be used again for the same window.

    Here and below: `queue_s` and `compute_s` are seconds waited inside the engine and the window's
    share of a batch's computing, `batch_size` counts the windows of that batch.
    """

    hypotheses: tuple[Hypothesis, ...]
    no_speech_prob: float
    encoded: Encoded | None
    queue_s: float = 0.0
    compute_s: float = 0.0
    batch_size: int = 1


@dataclass(frozen=True, slots=True)
class LanguageDetection:
    """Language code → probability, best first; and the encoder's output to go on with."""

    language_probs: Mapping[str, float]
    encoded: Encoded | None
    queue_s: float = 0.0
    compute_s: float = 0.0
    batch_size: int = 1


@dataclass(frozen=True, slots=True)
class AlignmentRequest:
    """Text tokens of one window to be placed in time.

    `num_frames` counts the 10 ms frames that hold audio; what follows is padding.
    """

    request_id: int
    start_sequence: tuple[int, ...]
    text_tokens: tuple[int, ...]
    num_frames: int
    features: LogMel | None = None
    encoded: Encoded | None = None
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Alignment:
    """(text token index, 20 ms encoder frame) pairs of the best path, and token probabilities."""

    path: tuple[tuple[int, int], ...]
    text_token_probs: tuple[float, ...]
    queue_s: float = 0.0
    compute_s: float = 0.0
    batch_size: int = 1


@dataclass(frozen=True, slots=True)
class DecodingResult:
    """One decoded window, in openai-whisper's names; `dropped` says why it is no speech."""

    language: str
    tokens: tuple[int, ...]
    text: str
    avg_logprob: float
    no_speech_prob: float
    temperature: float
    compression_ratio: float
    encoded: Encoded | None = None
    dropped: str | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its place in seconds; `word` keeps its leading space."""

    start: float
    end: float
    word: str
    probability: float


@dataclass(frozen=True, slots=True)
class TextToken:
    """One token of a text: its UTF-8 bytes (a character may be cut), and how likely it was.

    `probability` is the alignment's: of this token among all text tokens, given the audio and the
    window's tokens before it, without prompt, temperature or suppressed tokens.
    """

    data: bytes
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """OpenAI's ten fields in OpenAI's order, and the words where they were asked for.

    `seek` is the window's start in 10 ms frames; `start` and `end` are seconds. `text_tokens` are
    those of `tokens` that are text; a translation has none, for nothing aligns it.
    """

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: tuple[Word, ...] = ()
    text_tokens: tuple[TextToken, ...] = ()


OnSegments: TypeAlias = Callable[[Sequence[Segment]], None]
"""Is told a transcript's segments in their order, as soon as nothing can come before them."""


OnProgress: TypeAlias = Callable[[float], None]
"""Is told each stretch of audio that is done with, in seconds; they come in any order."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A stretch whose text was left out, in seconds of the recording, and why."""

    start: float
    end: float
    reason: str


@dataclass(frozen=True, slots=True)
class TranscriptionStats:
    """What a transcription cost, for the log line; sums over all windows.

    `calls` are those of the engine; in the batches of all of them were `batched` calls together,
    of whomever.
    """

    windows: int = 0
    fallbacks: int = 0
    dropped: int = 0
    queue_s: float = 0.0
    compute_s: float = 0.0
    calls: int = 0
    batched: int = 0


@dataclass(frozen=True, slots=True)
class Transcript:
    """The whole answer; every format is made from it alone. `language` is a Whisper code."""

    task: Task
    language: str
    duration: float
    text: str
    segments: tuple[Segment, ...] = ()
    words: tuple[Word, ...] = ()
    warnings: tuple[str, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    stats: TranscriptionStats = field(default_factory=TranscriptionStats)


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What one caller may use up; None is the server's default, 0 is no limit.

    `max_requests` is how many may be under way at once, in one process.
    """

    requests_per_minute: int | None = None
    audio_minutes_per_hour: int | None = None
    audio_minutes_per_day: int | None = None
    max_requests: int | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: which key or token (`key_id`), and whose it is (`name`).

    Both are safe to log; nothing else of a key is. Limits, usage and turns go by name, so that
    two keys of one caller are not two shares.
    """

    key_id: str
    name: str
    scopes: frozenset[str] = frozenset()
    limits: KeyLimits = KeyLimits()
