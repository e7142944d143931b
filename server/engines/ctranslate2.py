"""Whisper on the CPU by CTranslate2.

Knows: CTranslate2's calls, its batching rules and how it scales scores.
Must not know: text, windows, fallback, HTTP. The only file that imports ctranslate2.
"""

import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np

from server.decoding.languages import LANGUAGES
from server.engines.base import EngineInfo, EngineStats
from server.engines.batching import WINDOW_TIMEOUT, BatchQueue, Job
from server.engines.encoders import Choice, Encoder, Features, Windows, choose
from server.errors import EngineError
from server.types import (
    WINDOW_SECONDS,
    Alignment,
    AlignmentRequest,
    GenerationOptions,
    GenerationRequest,
    GenerationResult,
    Hypothesis,
    LanguageDetection,
)

SPARE = 1
"""A worker more than there are cores, for short or urgent windows and for words: the system shares
the cores out, and they need not wait until a batch of long windows is done."""

LINGER = 0.02
"""Seconds that an idle worker waits for more long windows: four cost a quarter less together."""

LINGER_BESIDE = 0.15
"""The same where a recording has more windows: features take 5 to 10 ms each, one by one."""

SMALL = 1000
"""Encoder frames, 20 s of view, up to which a window may take the spare worker."""

MIN_FRAMES = 200
"""A window of 2 s: less has not been tried."""

MAX_LENGTH = 448
"""Whisper's text context: prompt and answer together."""


def load(  # noqa: PLR0913 - settings of one model, all by name
    model: str,
    path: Path,
    *,
    compute_type: str,
    workers: int,
    threads: int,
    max_batch_size: int,
    encoder: Choice = "auto",
    window_timeout: float = WINDOW_TIMEOUT,
) -> "CTranslate2Engine":
    """Open the weights in `path`; blocks for as long as reading them takes.

    Args:
        model: the name under which the engine is known.
        path: a folder as CTranslate2's Whisper converter writes it.
        compute_type: `int8`, `int8_float32` or `float32`.
        workers: windows computed at once; 0 is one a core. One thread a worker beats several
            threads in one worker by 20-30 % in throughput.
        threads: threads of each worker.
        max_batch_size: most windows that a worker takes at once; the decoder reads its weights
            once for all of them.
        encoder: CTranslate2's own, OpenVINO's, or the faster one of the two.
        window_timeout: seconds after which a window counts as stuck.

    Raises:
        EngineError: the folder cannot be loaded as a multilingual Whisper.
    """
    workers = workers or len(os.sched_getaffinity(0))
    try:
        whisper = ctranslate2.models.Whisper(
            str(path),
            device="cpu",
            compute_type=compute_type,
            inter_threads=workers + SPARE,
            intra_threads=threads,
        )
    except (RuntimeError, ValueError) as error:
        raise EngineError(f"The weights of {model} cannot be loaded.") from error
    if not whisper.is_multilingual:
        raise EngineError(f"{model} knows English only; a multilingual Whisper is needed.")
    chosen = choose(
        encoder,
        _OwnEncoder(whisper),
        path,
        threads=workers * threads,
        n_mels=whisper.n_mels,
    )
    return CTranslate2Engine(
        model, whisper, chosen, max_batch_size=max_batch_size, window_timeout=window_timeout
    )


class _OwnEncoder:
    """CTranslate2's encoder, in the arithmetic of the whole model."""

    name = "ctranslate2"

    def __init__(self, whisper: Any) -> None:  # noqa: ANN401 - ships no types
        self._whisper = whisper

    def encode(self, features: Features) -> Windows:
        """A batch of windows."""
        view = ctranslate2.StorageView.from_array(features)
        return np.array(self._whisper.encode(view, to_cpu=True))


class CTranslate2Engine:
    """`Engine` over one CTranslate2 model; `encoded` is float32 (n_frames / 2, d_model)."""

    def __init__(
        self,
        model: str,
        whisper: Any,  # noqa: ANN401 - a `ctranslate2.models.Whisper`, which ships no types
        encoder: Encoder,
        *,
        max_batch_size: int,
        window_timeout: float = WINDOW_TIMEOUT,
    ) -> None:
        self._whisper = whisper
        self._encoder = encoder
        self._workers = workers = int(whisper.num_workers) - SPARE
        self._max_batch_size = max_batch_size
        languages = list(LANGUAGES)[: whisper.num_languages]
        self._info = EngineInfo(
            name="ctranslate2" if encoder.name == "ctranslate2" else f"ctranslate2+{encoder.name}",
            model=model,
            n_mels=whisper.n_mels,
            languages=languages,
            # A batch for each worker, and the turns decide about all others.
            max_in_flight=workers * max_batch_size,
            max_in_flight_s=workers * max_batch_size * WINDOW_SECONDS,
            spare=SPARE,
            seedable=False,
            min_frames=MIN_FRAMES,
        )
        self._queue = BatchQueue(
            self._run,
            workers=workers,
            spare=SPARE,
            max_batch_size=max_batch_size,
            window_timeout=window_timeout,
        )

    @property
    def info(self) -> EngineInfo:
        """What is loaded; constant."""
        return self._info

    def generate(self, request: GenerationRequest) -> Future[GenerationResult]:
        """Decode one window; prompts and windows of one length share a batch."""
        return self._submit(request, "generate", request.options, len(request.prompt))

    def detect_language(self, request: GenerationRequest) -> Future[LanguageDetection]:
        """Probability of each language in one window."""
        return self._submit(request, "detect_language")

    def align(self, request: AlignmentRequest) -> Future[Alignment]:
        """Place text tokens in time by the model's alignment heads."""
        return self._submit(request, "align", request.start_sequence)

    def _submit(
        self, request: GenerationRequest | AlignmentRequest, kind: str, *alike: object
    ) -> Future[Any]:
        length = _length(request)
        key = (kind, length, *alike)
        urgent = isinstance(request, GenerationRequest) and request.urgent
        if urgent:
            key = (*key, id(request))  # alike to no other: a batch of its own
        small = urgent or kind == "align" or length <= SMALL
        beside = getattr(request, "beside", 1)
        linger = LINGER_BESIDE if beside > 1 else LINGER
        return self._queue.submit(
            Job(
                request.request_id,
                key,
                request,
                request.deadline,
                small,
                linger if kind == "generate" and not small else 0.0,
                self._share(beside),
            )
        )

    def _share(self, beside: int) -> int | None:
        """How many of so many windows to decode at once, so that all workers end together.

        Of eleven, two workers take three, three, three and two: with four at a time one of them
        would decode the last three alone.
        """
        if beside == 1:
            return None
        rounds = math.ceil(beside / (self._workers * self._max_batch_size))
        return math.ceil(beside / (self._workers * rounds))

    def cancel(self, request_id: int) -> None:
        """Drop what waits under this id."""
        self._queue.cancel(request_id)

    def stats(self) -> EngineStats:
        """A snapshot for health and metrics."""
        waiting, running = self._queue.counts()
        return EngineStats(waiting=waiting, running=running, healthy=self._queue.healthy)

    def close(self, timeout: float) -> None:
        """Stop within `timeout` seconds."""
        self._queue.close(timeout)

    def _run(self, batch: Sequence[Job]) -> Sequence[object]:
        started = time.monotonic()
        results = self._compute(batch[0].key, [job.payload for job in batch])
        compute_s = (time.monotonic() - started) / len(batch)
        return [
            replace(
                result,
                queue_s=started - job.enqueued_at,
                compute_s=compute_s,
                batch_size=len(batch),
            )
            for job, result in zip(batch, results, strict=True)
        ]

    def _compute(
        self,
        key: Any,  # noqa: ANN401 - see the callers of `submit`
        requests: Sequence[Any],
    ) -> Sequence[GenerationResult | LanguageDetection | Alignment]:
        encoded = self._encode(requests)
        if key[0] == "detect_language":
            return self._detect(encoded)
        if key[0] == "align":
            return self._align(encoded, requests)
        return [
            GenerationResult(
                hypotheses=_hypotheses(generation, request.options),
                no_speech_prob=generation.no_speech_prob,
                encoded=window,
            )
            for generation, request, window in zip(
                self._generate(encoded, requests), requests, encoded, strict=True
            )
        ]

    def _encode(self, requests: Sequence[GenerationRequest | AlignmentRequest]) -> Windows:
        """Encoder output of each request, computed only where it is missing."""
        windows: list[Any] = [request.encoded for request in requests]
        missing = [index for index, window in enumerate(windows) if window is None]
        if missing:
            features: list[Any] = [requests[index].features for index in missing]
            fresh = self._encoder.encode(np.stack(features))
            for index, window in zip(missing, fresh, strict=True):
                windows[index] = window
        return np.stack(windows)

    def _generate(self, encoded: Windows, requests: Sequence[GenerationRequest]) -> Sequence[Any]:
        options: GenerationOptions = requests[0].options
        sampling = options.temperature > 0
        result: Sequence[Any] = self._whisper.generate(
            ctranslate2.StorageView.from_array(encoded),
            [list(request.prompt) for request in requests],
            beam_size=1 if sampling else options.beam_size,
            num_hypotheses=options.num_hypotheses if sampling else 1,
            patience=options.patience,
            length_penalty=options.length_penalty,
            # CTranslate2 halves this for the answer and takes the prompt off the whole.
            max_length=min(MAX_LENGTH, 2 * options.max_new_tokens),
            suppress_blank=options.suppress_blank,
            suppress_tokens=list(options.suppress_tokens),
            max_initial_timestamp_index=options.max_initial_timestamp_index,
            sampling_temperature=options.temperature if sampling else 1.0,
            sampling_topk=0 if sampling else 1,
            return_scores=True,
            return_no_speech_prob=True,
        )
        return result

    def _detect(self, encoded: Windows) -> list[LanguageDetection]:
        detections = self._whisper.detect_language(ctranslate2.StorageView.from_array(encoded))
        return [
            LanguageDetection({token[2:-2]: probability for token, probability in probs}, window)
            for probs, window in zip(detections, encoded, strict=True)
        ]

    def _align(self, encoded: Windows, requests: Sequence[AlignmentRequest]) -> list[Alignment]:
        results = self._whisper.align(
            ctranslate2.StorageView.from_array(encoded),
            list(requests[0].start_sequence),
            [list(request.text_tokens) for request in requests],
            [request.num_frames for request in requests],
        )
        return [
            Alignment(
                path=tuple((int(token), int(frame)) for token, frame in result.alignments),
                text_token_probs=tuple(result.text_token_probs),
            )
            for result in results
        ]


def _length(request: GenerationRequest | AlignmentRequest) -> int:
    """The window's length in encoder frames: only equal ones fit into one array."""
    if request.encoded is not None:
        encoded: Any = request.encoded
        return len(encoded)
    assert request.features is not None, "This is a bug: a request without a window"
    return int(request.features.shape[1] // 2)


def _hypotheses(generation: Any, options: GenerationOptions) -> tuple[Hypothesis, ...]:  # noqa: ANN401
    """CTranslate2 divides the sum, end-of-text included, by (tokens without it) ** penalty."""
    return tuple(
        Hypothesis(tuple(tokens), score * max(len(tokens), 1) ** options.length_penalty)
        for tokens, score in zip(generation.sequences_ids, generation.scores, strict=True)
    )
