"""What is said to TensorRT-LLM's executor: how it is to run, and one request a window.

Knows: the constructors of the executor bindings of TensorRT-LLM 1.2.1, as far as Whisper needs
    them (`engine_build/recorded/executor.toml` has their signatures).
Must not know: answers, threads. The bindings are handed in; nothing of TensorRT-LLM is imported.
"""

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

from server.decoding.rules import Array
from server.engines.logits import Course, LogitsProcessor
from server.engines.manifest import Manifest

Bindings: TypeAlias = Any
"""The module `tensorrt_llm.bindings.executor`, which ships no types."""

ITERATIONS = 256
"""Iterations whose statistics are kept between two looks."""


@dataclass(frozen=True, slots=True)
class WindowTask:
    """One window for the executor; `features` as `Arrays.features` makes them.

    `sequences` are sampled at `temperature`, or one is chosen greedily at 0.
    """

    prompt: tuple[int, ...]
    course: Course
    features: Array
    max_tokens: int
    end_token: int
    temperature: float = 0.0
    sequences: int = 1
    seed: int = 0
    deadline: float | None = None


def executor_config(
    bindings: Bindings,
    manifest: Manifest,
    processor: LogitsProcessor,
    device: int,
    kv_cache_fraction: float,
) -> Any:  # noqa: ANN401 - see Bindings
    """How the executor runs. Its `max_batch_size` stays unset: the encoder's is 1 (the plan)."""
    return bindings.ExecutorConfig(
        max_beam_width=1,
        scheduler_config=bindings.SchedulerConfig(
            capacity_scheduler_policy=bindings.CapacitySchedulerPolicy.GUARANTEED_NO_EVICT
        ),
        kv_cache_config=bindings.KvCacheConfig(
            enable_block_reuse=False,  # a privacy invariant: see ADR 10
            free_gpu_memory_fraction=kv_cache_fraction,
            cross_kv_cache_fraction=manifest.cross_kv_cache_fraction,
        ),
        enable_chunked_context=False,
        iter_stats_max_iterations=ITERATIONS,
        request_stats_max_iterations=0,
        batching_type=bindings.BatchingType.INFLIGHT,
        parallel_config=bindings.ParallelConfig(device_ids=[device]),
        logits_post_processor_config=bindings.LogitsPostProcessorConfig(
            processor_batched=processor
        ),
        max_queue_size=2 * manifest.windows,
    )


def window_request(bindings: Bindings, manifest: Manifest, client_id: int, task: WindowTask) -> Any:  # noqa: ANN401 - see Bindings
    """One window; always 30 s of it, since other lengths go wrong in TensorRT-LLM (its #2767)."""
    sampling = task.temperature > 0
    return bindings.Request(
        list(task.prompt),
        task.max_tokens,
        sampling_config=bindings.SamplingConfig(
            beam_width=1,
            # Greedy is top_k 1; all of the vocabulary is top_k 0 and top_p 1. Both at their
            # defaults mean greedy too, whatever the temperature.
            top_k=0 if sampling else 1,
            top_p=1.0 if sampling else None,
            temperature=task.temperature if sampling else None,
            seed=task.seed,
            num_return_sequences=task.sequences,
        ),
        output_config=bindings.OutputConfig(exclude_input_from_output=True),
        end_id=task.end_token,
        pad_id=task.end_token,
        client_id=client_id,
        encoder_input_features=task.features,
        encoder_output_length=manifest.dims["n_audio_ctx"],
        logits_post_processor_name=bindings.Request.BATCHED_POST_PROCESSOR_NAME,
        allotted_time_ms=_remaining(task.deadline),
    )


def _remaining(deadline: float | None) -> timedelta | None:
    """At least a millisecond: the executor refuses no request, it ends it."""
    if deadline is None:
        return None
    return timedelta(milliseconds=max(1, round((deadline - time.monotonic()) * 1000)))
