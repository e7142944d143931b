"""Whisper by TensorRT-LLM's executor: windows join and leave a running batch.

Knows: Whisper's prompts as the executor takes them, what its answers mean.
Must not know: text, fallback, HTTP; which GPU a window goes to (`device_queue.py`), how an executor
    is driven (`executor.py`), how one is opened (`tensorrt_llm.py`).
"""

import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np

from server.decoding.rules import Array, Rules
from server.decoding.tokenizer import Tokenizer
from server.engines.arrays import Arrays
from server.engines.base import EngineInfo, EngineStats
from server.engines.batching import BatchQueue, Job
from server.engines.device_queue import DeviceQueue, WindowJob
from server.engines.executor_calls import WindowTask
from server.engines.flight import WindowOutcome
from server.engines.logits import Course, language_probs
from server.engines.manifest import Manifest
from server.errors import EngineError
from server.types import (
    Alignment,
    AlignmentRequest,
    GenerationRequest,
    GenerationResult,
    Hypothesis,
    LanguageDetection,
    LogMel,
)


class Aligner(Protocol):
    """Places text in time beside the engine, which shows nobody its cross-attention."""

    def align(self, log_mel: LogMel, request: AlignmentRequest) -> Alignment:
        """One window; blocks."""
        ...


class _Encoded:
    """What `encoded` is here: the window in the executor's form; its encoder runs each time."""

    def __init__(self, log_mel: LogMel, arrays: Arrays) -> None:
        self.log_mel = log_mel
        self._arrays = arrays

    @cached_property
    def features(self) -> Array:
        """Made on the queue's thread."""
        return self._arrays.features(self.log_mel)

    @cached_property
    def seed(self) -> int:
        """From the window, so that the same recording always gives the same text."""
        return zlib.crc32(np.ascontiguousarray(self.log_mel).data)


class InFlightEngine:
    """`Engine` over the executors of one or more GPUs.

    `encoded` is the window in the executor's form: the encoder runs again whenever it is used.
    At temperature 0 it is greedy, whatever `beam_size` says.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that `open_engine` has put together
        self,
        model: str,
        manifest: Manifest,
        tokenizer: Tokenizer,
        queue: DeviceQueue,
        arrays: Arrays,
        devices: int,
        aligner: Aligner | None,
        window_timeout: float,
    ) -> None:
        self._manifest = manifest
        self._tokenizer = tokenizer
        self._queue = queue
        self._arrays = arrays
        self._aligner = aligner
        self._alignments = BatchQueue(
            self._align, workers=1, max_batch_size=1, window_timeout=window_timeout
        )
        # A window in eight is kept for short recordings, which need not wait for long ones then.
        spare = manifest.windows // 8 * devices
        self._info = EngineInfo(
            name="tensorrt_llm",
            model=model,
            n_mels=manifest.dims["n_mels"],
            languages=list(tokenizer.language_tokens),
            max_in_flight=manifest.windows * devices - spare,
            spare=spare,
            seedable=True,
            aligns=aligner is not None,
        )

    @property
    def info(self) -> EngineInfo:
        """What is loaded; constant."""
        return self._info

    def generate(self, request: GenerationRequest) -> Future[GenerationResult]:
        """Decode one window: greedily, or the best of several samples, seeded by the window."""
        sequences = 1
        if request.options.temperature > 0:
            sequences = min(request.options.num_hypotheses, self._manifest.windows)
        return self._submit(request, "generate", sequences, self._generation, _result)

    def detect_language(self, request: GenerationRequest) -> Future[LanguageDetection]:
        """Probability of each language in one window, from its first step alone."""
        return self._submit(request, "detect_language", 1, self._detection, self._languages)

    def align(self, request: AlignmentRequest) -> Future[Alignment]:
        """Place text tokens in time by openai-whisper's alignment, if it was loaded."""
        job = Job(request.request_id, "align", request, request.deadline)
        if self._aligner is None:
            job.finish(EngineError("This server places no words in time.", reason="no_aligner"))
            return job.future
        return self._alignments.submit(job)

    def cancel(self, request_id: int) -> None:
        """End everything under this id; what is in flight is stopped at its next step."""
        self._queue.cancel(request_id)
        self._alignments.cancel(request_id)

    def stats(self) -> EngineStats:
        """A snapshot for health and metrics."""
        counts = zip(self._queue.counts(), self._alignments.counts(), strict=True)
        waiting, running = (sum(pair) for pair in counts)
        healthy = self._queue.healthy and self._alignments.healthy
        return EngineStats(waiting, running, healthy, self._queue.kv_cache_used)

    def close(self, timeout: float) -> None:
        """Stop within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        self._queue.close(timeout)
        self._alignments.close(max(0.0, deadline - time.monotonic()))

    def _submit(
        self,
        request: GenerationRequest,
        kind: str,
        sequences: int,
        task: Callable[[GenerationRequest, _Encoded, int], WindowTask],
        conclude: Callable[[_Encoded, WindowOutcome, float], object],
    ) -> Future[Any]:
        job = WindowJob(request.request_id, kind, None, request.deadline, sequences=sequences)
        try:
            encoded = self._encoded(request)
        except EngineError as error:
            job.finish(error)
            return job.future
        job.payload = partial(task, request, encoded, sequences)
        job.conclude = partial(conclude, encoded)
        return self._queue.submit(job)

    def _encoded(self, request: GenerationRequest | AlignmentRequest) -> _Encoded:
        """The window; `encoded` wins.

        Raises:
            EngineError: there is none, or one of another model.
        """
        if isinstance(request.encoded, _Encoded):
            return request.encoded
        n_mels, frames = self._info.n_mels, 2 * self._manifest.dims["n_audio_ctx"]
        if request.features is None or request.features.shape != (n_mels, frames):
            raise EngineError(f"A window needs float32 features of shape ({n_mels}, {frames}).")
        return _Encoded(request.features, self._arrays)

    def _generation(
        self, request: GenerationRequest, encoded: _Encoded, sequences: int
    ) -> WindowTask:
        """The prompt up to `<|startoftranscript|>`; what follows it is forced step by step."""
        sot = self._tokenizer.sot
        if sot not in request.prompt:
            raise EngineError("The prompt does not start a transcript.")
        length = len(request.prompt) - request.prompt[::-1].index(sot)
        forced = request.prompt[length:]
        room = self._manifest.max_seq_len - len(request.prompt)
        if length > self._manifest.max_input_len or room < 1:
            raise EngineError("The prompt is too long.")
        options = request.options
        return WindowTask(
            prompt=request.prompt[:length],
            course=Course(length, forced, Rules.of(self._tokenizer, options, request.prompt)),
            features=encoded.features,
            max_tokens=len(forced) + min(options.max_new_tokens, room),
            end_token=self._tokenizer.eot,
            temperature=options.temperature,
            sequences=sequences,
            seed=encoded.seed,
            deadline=request.deadline,
        )

    def _detection(
        self, request: GenerationRequest, encoded: _Encoded, sequences: int
    ) -> WindowTask:
        """One step after `<|startoftranscript|>`, which ends the window."""
        end = self._tokenizer.eot
        return WindowTask(
            prompt=(self._tokenizer.sot,),
            course=Course(1, (end,), None),
            features=encoded.features,
            max_tokens=1,
            end_token=end,
            sequences=sequences,
            deadline=request.deadline,
        )

    def _languages(
        self, encoded: _Encoded, outcome: WindowOutcome, queue_s: float
    ) -> LanguageDetection:
        probs = language_probs(self._tokenizer.language_tokens, outcome.readings[0].language_probs)
        return LanguageDetection(probs, encoded, queue_s, outcome.compute_s, outcome.batch_size)

    def _align(self, batch: Sequence[Job]) -> list[Alignment]:
        (job,) = batch
        assert self._aligner is not None, "This is a bug: an alignment without an aligner"
        started = time.monotonic()
        alignment = self._aligner.align(self._encoded(job.payload).log_mel, job.payload)
        return [
            replace(
                alignment,
                queue_s=started - job.enqueued_at,
                compute_s=time.monotonic() - started,
            )
        ]


def _result(encoded: _Encoded, outcome: WindowOutcome, queue_s: float) -> GenerationResult:
    return GenerationResult(
        tuple(
            Hypothesis(tokens, reading.sum_logprob)
            for tokens, reading in zip(outcome.tokens, outcome.readings, strict=True)
        ),
        outcome.readings[0].no_speech_prob,
        encoded,
        queue_s,
        outcome.compute_s,
        outcome.batch_size,
    )
