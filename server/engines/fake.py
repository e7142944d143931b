"""A deterministic engine without weights, for tests of everything around an engine.

Knows: the engine interface, and a script that says what each window holds.
Must not know: Whisper. It is as strict as a real engine: prompts that are too long, features of
the wrong shape or requests without a window are errors.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np

from server.decoding.languages import LANGUAGES
from server.decoding.tokenizer import Tokenizer
from server.engines.base import EngineInfo, EngineStats
from server.engines.batching import WINDOW_TIMEOUT, BatchQueue, Job
from server.errors import EngineError
from server.types import (
    Alignment,
    AlignmentRequest,
    GenerationRequest,
    GenerationResult,
    Hypothesis,
    LanguageDetection,
)

N_MELS = 80
MAX_FRAMES = 3000
MAX_PROMPT = 227
"""223 tokens of previous text, their start token and the three task tokens."""

Script = Callable[[GenerationRequest], Hypothesis]
"""What the engine says to a window."""


def byte_tokenizer() -> Tokenizer:
    """A vocabulary of the 256 bytes and Whisper's special tokens in Whisper's order."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    names = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in LANGUAGES)]
    names += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>"]
    names += ["<|nospeech|>", "<|notimestamps|>"]
    # One unused id before the special tokens, as the real vocabulary has.
    return Tokenizer(ranks, {name: 257 + index for index, name in enumerate(names)})


class FakeEngine:
    """`Engine` that answers by `script`, one window at a time a worker."""

    def __init__(  # noqa: PLR0913 - what a test may script, by name
        self,
        script: Script,
        *,
        language_probs: Callable[[GenerationRequest], dict[str, float]] | None = None,
        no_speech_prob: float = 0.0,
        workers: int = 2,
        window_timeout: float = WINDOW_TIMEOUT,
        aligns: bool = True,
        min_frames: int = 3000,
    ) -> None:
        self._script = script
        self._language_probs = language_probs or (lambda _: {"pt": 0.95, "en": 0.05})
        self._no_speech_prob = no_speech_prob
        self.requests: list[GenerationRequest] = []
        self._queue = BatchQueue(
            self._run, workers=workers, max_batch_size=1, window_timeout=window_timeout
        )
        self._info = EngineInfo(
            "fake",
            "fake",
            N_MELS,
            list(LANGUAGES),
            workers * 4,
            seedable=True,
            aligns=aligns,
            min_frames=min_frames,
        )

    @property
    def info(self) -> EngineInfo:
        """What is loaded; constant."""
        return self._info

    def generate(self, request: GenerationRequest) -> Future[GenerationResult]:
        """Answer by the script."""
        return self._queue.submit(Job(request.request_id, "generate", request, request.deadline))

    def detect_language(self, request: GenerationRequest) -> Future[LanguageDetection]:
        """The probabilities that the test gave."""
        return self._queue.submit(Job(request.request_id, "detect", request, request.deadline))

    def align(self, request: AlignmentRequest) -> Future[Alignment]:
        """Spread the tokens evenly over the frames."""
        return self._queue.submit(Job(request.request_id, "align", request, request.deadline))

    def cancel(self, request_id: int) -> None:
        """Drop what waits under this id."""
        self._queue.cancel(request_id)

    def stats(self) -> EngineStats:
        """A snapshot for health and metrics."""
        waiting, running = self._queue.counts()
        return EngineStats(waiting, running, self._queue.healthy)

    def close(self, timeout: float) -> None:
        """Stop within `timeout` seconds."""
        self._queue.close(timeout)

    def _run(self, batch: Sequence[Job]) -> list[object]:
        (job,) = batch
        request = job.payload
        window = self._check(request)
        if job.key == "align":
            if not self._info.aligns:
                raise EngineError("This engine places no words in time.")
            return [_spread(request)]
        if job.key == "detect":
            return [LanguageDetection(self._language_probs(request), window)]
        if len(request.prompt) > MAX_PROMPT:
            raise EngineError("The prompt is too long.")
        self.requests.append(request)
        hypothesis = self._script(request)
        return [GenerationResult((hypothesis,), self._no_speech_prob, window, 0.0, 0.0)]

    def _check(self, request: GenerationRequest | AlignmentRequest) -> object:
        """The window's features, of the right shape; `encoded` is just the features again."""
        window = request.features if request.encoded is None else request.encoded
        if not isinstance(window, np.ndarray) or len(window) != N_MELS:
            raise EngineError("A window needs float32 features of 80 mels.")
        n_frames = window.shape[1]
        if not self._info.min_frames <= n_frames <= MAX_FRAMES or n_frames % 2:
            raise EngineError("A window has too few frames, too many, or an odd number of them.")
        return window


def _spread(request: AlignmentRequest) -> Alignment:
    """The text tokens share the frames; end-of-text has the last one."""
    count = len(request.text_tokens)
    frames = max(request.num_frames // 2, count + 1)
    path = [(frame * count // (frames - 1), frame) for frame in range(frames)]
    return Alignment(tuple(path), (1.0,) * count)
