"""A stand-in for `tensorrt_llm.bindings.executor`, stricter than the real one.

Every call is bound to the recorded signatures, every value checked for type, shape, dtype and
order in memory. Behind it is no GPU but a NumPy Whisper on the converted checkpoint, stepped as
the executor steps: one window's encoder an iteration, sequences that join and leave between two
steps, answers in any order. `Faults` injects what goes wrong on real machines.
Source: cpp/tensorrt_llm/executor/executorImpl.cpp, batch_manager/{llmRequest,logitsPostProcessor,
handleGenerationLogits}.cpp of TensorRT-LLM, read as stored copies of the 1.x line.
"""

import enum
import json
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy_whisper import Cache, NumpyWhisper

from engine_build import recordings

STREAM = 0x5EED
"""The CUDA stream's address that callbacks are given."""

TOKENS_PER_BLOCK = 32
BATCHED = "batched"

Check: TypeAlias = Callable[[Any], bool]


@dataclass
class Faults:
    """What is to go wrong; fields may be changed while an executor runs."""

    seconds_a_step: float = 0.0
    refuse: bool = False
    reject: bool = False
    fail_step: bool = False
    hang: bool = False
    deaf: bool = False
    ends_included: bool = False
    rules_skipped: bool = False
    reuse_blocks: bool = False
    cancel_fails: bool = False
    late_answers: bool = False
    slow_clock: bool = False
    own_blocks: int | None = None
    cross_blocks: int | None = None


@dataclass
class Watch:
    """What tests may look at afterwards."""

    executors: list[Any] = field(default_factory=list)
    batches: list[tuple[int, ...]] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)


def bind(name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The arguments by name, if any recorded form of the callable takes them."""
    for signature in recordings.signatures(name):
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            continue
        bound.apply_defaults()
        return bound.arguments
    raise TypeError(f"{name}(): incompatible function arguments: {args} {sorted(kwargs)}")


def demand(right: bool, what: str) -> None:
    if not right:
        raise TypeError(f"incompatible function arguments: {what}")


def is_whole(value: Any) -> bool:
    return type(value) is int


def is_bool(value: Any) -> bool:
    return type(value) is bool


def is_id(value: Any) -> bool:
    return is_whole(value) and 0 <= value < 1 << 64


def is_fraction(value: Any) -> bool:
    return type(value) is float and 0 < value <= 1


class Recorded:
    """A value class of the bindings: exactly the recorded arguments, each of its type.

    What Whisper never needs is refused, although the real one would take it.
    """

    types: ClassVar[Mapping[str, Check]] = {}
    needed: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        for name, value in bind(type(self).__name__, *args, **kwargs).items():
            check = self.types.get(name)
            demand(value is None or (check is not None and check(value)), f"{name}={value!r}")
            demand(value is not None or name not in self.needed, f"{name} is needed")
            setattr(self, name, value)


def make_bindings(faults: Faults | None = None, watch: Watch | None = None) -> Any:
    """The module, with its own faults."""
    faults, watch = faults or Faults(), watch or Watch()
    enums = {
        name: enum.Enum(name, recordings.members(name))
        for name in ("ModelType", "BatchingType", "CapacitySchedulerPolicy", "FinishReason")
    }

    made: dict[str, Any] = dict(enums)

    def add(name: str, **types: Check) -> None:
        made[name] = type(name, (Recorded,), {"types": types})

    def one_of(name: str) -> Check:
        return lambda value: isinstance(value, made[name])

    add("SchedulerConfig", capacity_scheduler_policy=one_of("CapacitySchedulerPolicy"))
    add(
        "KvCacheConfig",
        enable_block_reuse=is_bool,
        free_gpu_memory_fraction=is_fraction,
        cross_kv_cache_fraction=is_fraction,
    )
    add("ParallelConfig", device_ids=lambda x: type(x) is list and all(map(is_whole, x)))
    add("LogitsPostProcessorConfig", processor_batched=callable, replicate=is_bool)
    add(
        "ExecutorConfig",
        max_beam_width=is_whole,
        scheduler_config=one_of("SchedulerConfig"),
        kv_cache_config=one_of("KvCacheConfig"),
        enable_chunked_context=lambda x: x is False,
        iter_stats_max_iterations=is_whole,
        request_stats_max_iterations=is_whole,
        batching_type=lambda x: x is enums["BatchingType"].INFLIGHT,
        max_queue_size=is_whole,
        parallel_config=one_of("ParallelConfig"),
        logits_post_processor_config=one_of("LogitsPostProcessorConfig"),
    )
    add(
        "SamplingConfig",
        beam_width=lambda x: x == 1,
        top_k=lambda x: is_whole(x) and x >= 0,
        top_p=is_fraction,
        temperature=lambda x: type(x) is float and x > 0,
        seed=is_id,
        num_return_sequences=lambda x: is_whole(x) and x > 0,
    )
    # Concurrent generation logits corrupt each other in 1.2.1 (its #15461): never asked for.
    add("OutputConfig", exclude_input_from_output=lambda x: x is True)
    add(
        "Request",
        input_token_ids=lambda x: type(x) is list and bool(x) and all(map(is_whole, x)),
        max_tokens=lambda x: is_whole(x) and x > 0,
        sampling_config=one_of("SamplingConfig"),
        output_config=one_of("OutputConfig"),
        end_id=is_whole,
        pad_id=is_whole,
        client_id=is_id,
        encoder_input_features=lambda x: (
            isinstance(x, np.ndarray) and x.dtype == np.float16 and x.flags.c_contiguous
        ),
        encoder_output_length=is_whole,
        logits_post_processor_name=lambda x: x == BATCHED,
        allotted_time_ms=lambda x: isinstance(x, timedelta),
    )
    made["Request"].BATCHED_POST_PROCESSOR_NAME = BATCHED
    made["Request"].needed = (
        "client_id", "encoder_input_features", "encoder_output_length", "end_id",
        "logits_post_processor_name", "sampling_config", "output_config",
    )  # fmt: skip
    module = SimpleNamespace(**made)
    module.Executor = lambda *args, **kwargs: Executor(
        module, faults, watch, bind("Executor", *args, **kwargs)
    )
    return module


@dataclass(eq=False)
class Sequence:
    """One sequence of a request, as the executor keeps it."""

    request: Any
    req_id: int
    parent: "Sequence | None"
    index: int
    tokens: list[int]
    seed: int
    finals: list[bool]
    queued: float
    started: float = 0.0
    cache: Cache | None = None
    blocks: bool = False
    fresh: list[int] = field(default_factory=list)
    reason: Any = None
    rng: Any = None

    @property
    def family(self) -> int:
        """The id that the caller knows."""
        return self.parent.req_id if self.parent else self.req_id


class Response:
    """One answer; looking at the result of an error raises, as in C++."""

    def __init__(self, req_id: int, client_id: int, error: str | None, result: Any) -> None:
        self.request_id, self.client_id = req_id, client_id
        self._error, self._result = error, result

    def has_error(self) -> bool:
        return self._error is not None

    @property
    def error_msg(self) -> str:
        if self._error is None:
            raise RuntimeError("Response: no error to be told")
        return self._error

    @property
    def result(self) -> Any:
        if self._error is not None:
            raise RuntimeError("Response: an error has no result")
        return self._result


@cache
def whisper_of(folder: Path) -> NumpyWhisper:
    """The checkpoint in an engine's folder, loaded once."""
    return NumpyWhisper(folder)


_encoded: dict[tuple[int, bytes], Any] = {}
_encoding = threading.Lock()


def encode(whisper: NumpyWhisper, features: Any) -> Any:
    """The encoder's output for one window, float16 (frames, n_mels).

    It is the slow part and always gives the same, so the last ones are kept.
    """
    key = (id(whisper), features.tobytes())
    with _encoding:
        if key not in _encoded:
            if len(_encoded) >= 32:
                _encoded.clear()
            (_encoded[key],) = whisper.encode([features.astype(np.float32)])
        return _encoded[key]


class Executor:
    """The engine's thread, its queue and its answers."""

    def __init__(self, module: Any, faults: Faults, watch: Watch, given: dict[str, Any]) -> None:
        encoder, decoder = (Path(given[f"{part}_model_path"]) for part in ("encoder", "decoder"))
        demand(given["model_type"] is module.ModelType.ENCODER_DECODER, "model_type")
        demand(isinstance(given["executor_config"], module.ExecutorConfig), "executor_config")
        self.module, self.faults, self.watch = module, faults, watch
        self.config = given["executor_config"]
        self._check_config()
        built = json.loads((decoder.parent / "manifest.json").read_text())
        self.dims, self.places = built["dims"], built["windows"]
        self.max_seq_len, self.max_input_len = built["max_seq_len"], built["max_seq_len"] - 1
        self.whisper = whisper_of(encoder.parent)
        self.free_own = self._pool(faults.own_blocks, self.max_seq_len)
        self.free_cross = self._pool(faults.cross_blocks, self.dims["n_audio_ctx"])
        self.all_blocks = (self.free_own, self.free_cross)
        self.lock = threading.Condition()
        self.queued: deque[list[Sequence]] = deque()
        self.active: list[Sequence] = []
        self.answers: list[Response] = []
        self.held: list[Response] = []
        self.cancelled: set[int] = set()
        self.statistics: deque[Any] = deque(maxlen=self.config.iter_stats_max_iterations)
        self.last_id = 0
        self.iteration = 0
        self.stopped = False
        self.random = random.Random(7)
        self.reader: threading.Thread | None = None
        watch.executors.append(self)
        self.thread = threading.Thread(target=self._loop, daemon=True, name="executionLoop")
        self.thread.start()

    def _check_config(self) -> None:
        config, cache = self.config, self.config.kv_cache_config
        if cache is None or cache.cross_kv_cache_fraction is None:
            raise RuntimeError("cross_kv_cache_fraction is needed for encoder-decoder models")
        policy = self.module.CapacitySchedulerPolicy.GUARANTEED_NO_EVICT
        demand(config.scheduler_config.capacity_scheduler_policy is policy, "scheduler policy")
        demand(config.max_beam_width == 1, "one beam")
        demand(config.batching_type is not None, "batching_type")
        demand(config.logits_post_processor_config.processor_batched is not None, "processor")
        # Blocks are found by tokens alone: another caller's recording would answer.
        demand(cache.enable_block_reuse is False, "enable_block_reuse is on unless it is off")
        demand(config.parallel_config.device_ids is not None, "device_ids")

    def _pool(self, blocks: int | None, tokens: int) -> int:
        return self.places * -(-tokens // TOKENS_PER_BLOCK) if blocks is None else blocks

    # What callers call, from any thread.

    def enqueue_request(self, *args: Any, **kwargs: Any) -> int:
        request = bind("Executor.enqueue_request", *args, **kwargs)["request"]
        demand(isinstance(request, self.module.Request), "request")
        self._check_alive()
        if self.faults.refuse:
            raise RuntimeError("[TensorRT-LLM][ERROR] Assertion failed: refused (/src/x.cpp:1)")
        count = request.sampling_config.num_return_sequences or 1
        with self.lock:
            waiting = sum(len(family) for family in self.queued)
            if waiting + count > self.config.max_queue_size:
                raise RuntimeError("Maximum queue size has been reached, please try again later")
            family: list[Sequence] = []
            finals = [False] * count
            for index in range(count):
                self.last_id += 1
                family.append(
                    Sequence(
                        request, self.last_id, family[0] if family else None, index,
                        list(request.input_token_ids), (request.sampling_config.seed or 0) + index,
                        finals, time.monotonic(),
                    )
                )  # fmt: skip
            self.queued.append(family)
            self.watch.requests.append(request)
            self.lock.notify_all()
        return family[0].req_id

    def await_responses(self, *args: Any, **kwargs: Any) -> list[Response]:
        given = bind("Executor.await_responses", *args, **kwargs)
        demand(set(given) == {"timeout"}, "one reader takes all answers")
        demand(isinstance(given["timeout"], timedelta), "timeout")
        self._check_alive()
        current = threading.current_thread()
        self.reader = self.reader or current
        demand(self.reader is current, "two readers would take each other's answers")
        if self.faults.deaf:
            raise RuntimeError("[TensorRT-LLM][ERROR] CUDA runtime error in stream.cpp")
        with self.lock:
            self.lock.wait_for(
                lambda: self.answers or self.stopped, given["timeout"].total_seconds()
            )
            self.random.shuffle(self.answers)
            # Now and then an answer comes with the next call.
            keep = self.random.randint(0, len(self.answers) // 2)
            taken, self.answers = self.answers[keep:], self.answers[:keep]
            late, self.held = self.held, []
        return taken + late

    def cancel_request(self, *args: Any, **kwargs: Any) -> None:
        req_id = bind("Executor.cancel_request", *args, **kwargs)["id"]
        demand(is_whole(req_id), "id")
        self._check_alive()
        if self.faults.cancel_fails:
            raise RuntimeError("[TensorRT-LLM][ERROR] CUDA runtime error in cancel")
        with self.lock:
            self.cancelled.add(req_id)
            self.watch.cancelled.append(req_id)

    def get_latest_iteration_stats(self, *args: Any, **kwargs: Any) -> list[Any]:
        bind("Executor.get_latest_iteration_stats", *args, **kwargs)
        self._check_alive()
        with self.lock:
            taken = list(self.statistics)
            self.statistics.clear()
        return taken

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        bind("Executor.shutdown", *args, **kwargs)
        with self.lock:
            self.stopped = True
            self.lock.notify_all()
        self.thread.join()

    def _check_alive(self) -> None:
        if self.stopped:
            raise RuntimeError("[TensorRT-LLM][ERROR] Assertion failed: Shutdown called")

    # The executor's own thread.

    def _loop(self) -> None:
        while not self.stopped or self.active:
            while self.faults.hang:
                time.sleep(0.01)
            if self.active:
                self._finish_step()
            if not self.stopped:
                self._fetch()
            if not self.active:
                with self.lock:
                    self.lock.wait_for(lambda: self.queued or self.stopped, 0.05)
                continue
            time.sleep(self.faults.seconds_a_step)
            try:
                self._encode_one()
                self._step()
            except Exception as error:  # noqa: BLE001 - as the executor does
                self._terminate(f"Encountered an error in forwardAsync function: {error}")
            self._count()

    def _fetch(self) -> None:
        """New families, as long as all of their sequences find a place."""
        with self.lock:
            while self.queued:
                if len(self.active) + len(self.queued[0]) > self.places:
                    return
                family = self.queued.popleft()
                try:
                    self._validate(family[0].request)
                except Exception as error:  # noqa: BLE001 - as the executor does
                    message = f"Encountered an error when fetching new request: {error}"
                    self._answer(family[0].req_id, family[0], message, None)
                    continue
                for sequence in family:
                    # The allotted time counts from here, not from when it was queued.
                    sequence.started = time.monotonic()
                    sequence.rng = np.random.default_rng(sequence.seed)
                self.active += family

    def _validate(self, request: Any) -> None:
        if self.faults.reject:
            raise RuntimeError("Assertion failed: rejected (/home/builder/x.cpp:12)")
        frames, n_mels = request.encoder_input_features.shape
        if (frames, n_mels) != (2 * self.dims["n_audio_ctx"], self.dims["n_mels"]):
            raise RuntimeError(f"features of {frames} x {n_mels}: other lengths go wrong on a GPU")
        if request.encoder_output_length != self.dims["n_audio_ctx"]:
            raise RuntimeError("encoder_output_length")
        if len(request.input_token_ids) > self.max_input_len:
            raise RuntimeError("Prompt length exceeds maximum input length")
        if len(request.input_token_ids) + request.max_tokens > self.max_seq_len:
            raise RuntimeError("prompt and answer are longer than the engine; it would cut them")
        if not all(0 <= token < self.dims["n_vocab"] for token in request.input_token_ids):
            raise RuntimeError("a token is not in the vocabulary")

    def _encode_one(self) -> None:
        """The encoder's batch is one window."""
        for sequence in self.active:
            if sequence.cache is not None:
                continue
            if not self._take_blocks(sequence):
                return
            features = sequence.request.encoder_input_features
            sequence.cache = self.whisper.start(encode(self.whisper, features))
            sequence.fresh = list(sequence.tokens)
            return

    def _take_blocks(self, sequence: Sequence) -> bool:
        """Blocks for the whole length that a sequence may reach: nothing is evicted."""
        length = len(sequence.request.input_token_ids) + sequence.request.max_tokens
        own = -(-length // TOKENS_PER_BLOCK)
        cross = -(-self.dims["n_audio_ctx"] // TOKENS_PER_BLOCK)
        if sequence.blocks or own > self.free_own or cross > self.free_cross:
            return sequence.blocks
        self.free_own -= own
        self.free_cross -= cross
        sequence.blocks = True
        return True

    def _give_blocks(self, sequence: Sequence) -> None:
        if sequence.blocks:
            length = len(sequence.request.input_token_ids) + sequence.request.max_tokens
            self.free_own += -(-length // TOKENS_PER_BLOCK)
            self.free_cross += -(-self.dims["n_audio_ctx"] // TOKENS_PER_BLOCK)
            sequence.blocks = False

    def _step(self) -> None:
        """One fused step of prompts and answers, the callback, and the choice of tokens."""
        rows = [each for each in self.active if each.cache is not None and not each.reason]
        if not rows:
            return
        self.random.shuffle(rows)
        if self.faults.fail_step:
            raise RuntimeError("[TensorRT-LLM][ERROR] CUDA runtime error in x: illegal address")
        hidden = self.whisper.next_logits(
            [each.fresh for each in rows], [each.cache for each in rows if each.cache]
        )
        logits = [np.array(row, np.float32)[None, None] for row in hidden]
        self.watch.batches.append(tuple(sorted(each.req_id for each in rows)))
        if not self.faults.rules_skipped:
            self.config.logits_post_processor_config.processor_batched(
                [each.req_id for each in rows],
                logits,
                [[list(each.tokens)] for each in rows],
                STREAM,
                [each.request.client_id for each in rows],
            )
        for sequence, values in zip(rows, logits, strict=True):
            sequence.fresh = [self._choose(sequence, values[0, 0])]
            values[:] = np.nan  # the buffer belongs to the executor, and is used again

    def _choose(self, sequence: Sequence, logits: Any) -> int:
        demand(not np.isnan(logits).any(), "a logit is no number")
        sampling = sequence.request.sampling_config
        if sampling.top_k == 1 or (not sampling.top_k and not sampling.top_p):
            return int(logits.argmax())
        demand(sampling.top_k == 0 and sampling.top_p == 1.0, "top_k and top_p are both in use")
        weights = np.exp((logits - logits.max()).astype(np.float64) / (sampling.temperature or 1))
        return int(sequence.rng.choice(len(weights), p=weights / weights.sum()))

    def _finish_step(self) -> None:
        """Take the chosen tokens; end what has ended, timed out or was cancelled."""
        reasons = self.module.FinishReason
        for sequence in self.active:
            if sequence.cache is None or sequence.cache.length < len(sequence.tokens):
                continue
            (token,) = sequence.fresh
            request = sequence.request
            if token == request.end_id:
                sequence.reason = reasons.END_ID
                sequence.tokens += [token] if self.faults.ends_included else []
            else:
                sequence.tokens.append(token)
                if len(sequence.tokens) >= len(request.input_token_ids) + request.max_tokens:
                    sequence.reason = reasons.LENGTH
        with self.lock:
            cancelled, self.cancelled = self.cancelled, set()
        now = time.monotonic()
        left = set(cancelled)
        for sequence in self.active:
            allotted = sequence.request.allotted_time_ms
            elapsed = now - sequence.started
            over = allotted and elapsed >= allotted.total_seconds() and not self.faults.slow_clock
            left.discard(sequence.family)
            if sequence.reason is None and over:
                sequence.reason = reasons.TIMED_OUT
                del sequence.tokens[len(sequence.request.input_token_ids) :]
            if sequence.family in cancelled:
                sequence.reason = sequence.reason or reasons.CANCELLED
                del sequence.tokens[len(sequence.request.input_token_ids) :]
        with self.lock:
            self.cancelled |= {
                each for each in left if any(each == f[0].req_id for f in self.queued)
            }
        for sequence in [each for each in self.active if each.reason]:
            self.active.remove(sequence)
            self._give_blocks(sequence)
            sequence.finals[sequence.index] = True
            result = SimpleNamespace(
                is_final=all(sequence.finals),
                is_sequence_final=True,
                sequence_index=sequence.index,
                output_token_ids=[sequence.tokens[len(sequence.request.input_token_ids) :]],
                finish_reasons=[sequence.reason],
                cum_log_probs=None,
                log_probs=None,
            )
            self._answer(sequence.family, sequence, None, result)

    def _terminate(self, message: str) -> None:
        """A failed step ends everything that is active; children are named by their own ids."""
        for sequence in self.active:
            self._give_blocks(sequence)
            self._answer(sequence.req_id, sequence, message, None)
        self.active.clear()

    def _answer(self, req_id: int, sequence: Sequence, error: str | None, result: Any) -> None:
        response = Response(req_id, sequence.request.client_id, error, result)
        with self.lock:
            self.answers.append(response)
            if self.faults.late_answers:
                self.held.append(response)  # the same once more
            self.lock.notify_all()

    def _count(self) -> None:
        self.iteration += 1
        reused = int(self.faults.reuse_blocks)
        caches = [
            SimpleNamespace(
                max_num_blocks=total,
                free_num_blocks=free,
                used_num_blocks=total - free,
                tokens_per_block=TOKENS_PER_BLOCK,
                reused_blocks=reused,
            )
            for total, free in zip(self.all_blocks, (self.free_own, self.free_cross), strict=True)
        ]
        with self.lock:
            self.statistics.append(
                SimpleNamespace(
                    iter=self.iteration,
                    num_active_requests=len(self.active),
                    num_queued_requests=len(self.queued),
                    kv_cache_stats=caches[0],
                    cross_kv_cache_stats=caches[1],
                )
            )
