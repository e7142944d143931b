"""The double refuses what the real bindings would not survive."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_folder import SMALL, make_folder, small_checkpoint
from executor_double import STREAM, make_bindings

from engine_build import recordings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small engine of four windows."""
    path = tmp_path_factory.mktemp("engine")
    make_folder(path, small_checkpoint(), windows=4)
    return path


@pytest.fixture(scope="module")
def module() -> Any:
    """The bindings."""
    return make_bindings()


def config(module: Any, processor: Any = print, **changes: Any) -> Any:
    cache = {"enable_block_reuse": False, "cross_kv_cache_fraction": 0.7}
    cache |= {name: changes.pop(name) for name in list(changes) if name in cache}
    given = {
        "max_beam_width": 1,
        "scheduler_config": module.SchedulerConfig(
            capacity_scheduler_policy=module.CapacitySchedulerPolicy.GUARANTEED_NO_EVICT
        ),
        "kv_cache_config": module.KvCacheConfig(**cache),
        "iter_stats_max_iterations": 8,
        "batching_type": module.BatchingType.INFLIGHT,
        "max_queue_size": 2,
        "parallel_config": module.ParallelConfig(device_ids=[0]),
        "logits_post_processor_config": module.LogitsPostProcessorConfig(
            processor_batched=processor
        ),
    }
    return module.ExecutorConfig(**given | changes)


@pytest.fixture
def executor(module: Any, folder: Path) -> Iterator[Any]:
    """One that counts its callbacks in `calls`."""
    calls: list[Any] = []
    opened = module.Executor(
        str(folder / "encoder"),
        str(folder / "decoder"),
        module.ModelType.ENCODER_DECODER,
        config(module, lambda *args: calls.append(args)),
    )
    opened.calls = calls
    yield opened
    opened.shutdown()


def arguments(module: Any, **changes: Any) -> dict[str, Any]:
    return {
        "input_token_ids": [50_258],
        "max_tokens": 3,
        "sampling_config": module.SamplingConfig(beam_width=1, top_k=1, seed=1),
        "output_config": module.OutputConfig(exclude_input_from_output=True),
        "end_id": 50_257,
        "pad_id": 50_257,
        "client_id": 5,
        "encoder_input_features": np.zeros((3000, 80), np.float16),
        "encoder_output_length": 1500,
        "logits_post_processor_name": module.Request.BATCHED_POST_PROCESSOR_NAME,
    } | changes


def test_the_callback_is_called_as_recorded(module: Any, executor: Any) -> None:
    """Lists of ids, of logits (1, 1, n_vocab), of one beam's tokens; the stream; client ids."""
    req_id = executor.enqueue_request(module.Request(**arguments(module)))
    answers: list[Any] = []
    while not answers:
        answers = executor.await_responses(timeout=timedelta(seconds=5))
    (answer,) = answers
    assert (req_id, 5, False) == (answer.request_id, answer.client_id, answer.has_error())
    assert [module.FinishReason.LENGTH] == answer.result.finish_reasons
    assert 3 == len(answer.result.output_token_ids[0])
    ids, logits, tokens, stream, clients = executor.calls[1]
    assert ([req_id], STREAM, [5]) == (ids, stream, clients)
    assert [(1, 1, SMALL.n_vocab)] == [each.shape for each in logits]
    assert [[[50_258, answer.result.output_token_ids[0][0]]]] == tokens
    assert all(np.isnan(each).all() for each in logits)  # whoever keeps them sees rubbish


@pytest.mark.parametrize(
    "changes",
    [
        {"max_new_tokens": 3},  # the bundled example's name for it, long gone
        {"input_token_ids": []},
        {"input_token_ids": (50_258,)},
        {"input_token_ids": [np.int64(50_258)]},
        {"max_tokens": 0},
        {"client_id": None},
        {"client_id": -1},
        {"end_id": "50257"},
        {"stop_words": [[1]]},  # they leak, upstream #5509
        {"allotted_time_ms": 500},
        {"encoder_input_features": np.zeros((3000, 80), np.float32)},
        {"encoder_input_features": np.zeros((80, 3000), np.float16).T},
        {"encoder_input_features": [[0.0] * 80] * 3000},
        {"logits_post_processor_name": "mine"},
        {"output_config": None},
        {"streaming": True},
    ],
)
def test_a_wrong_request_is_refused(module: Any, changes: dict[str, Any]) -> None:
    """By name, type, dtype, order in memory; and what Whisper must never ask for."""
    with pytest.raises(TypeError, match="incompatible function arguments"):
        module.Request(**arguments(module, **changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoder_input_features": np.zeros((80, 3000), np.float16)}, "other lengths"),
        ({"encoder_input_features": np.zeros((2000, 80), np.float16)}, "other lengths"),
        ({"encoder_output_length": 3000}, "encoder_output_length"),
        ({"input_token_ids": [60_000]}, "vocabulary"),
        ({"max_tokens": 448}, "longer than the engine"),
    ],
)
def test_what_only_the_engine_can_tell_is_answered(
    module: Any, executor: Any, changes: dict[str, Any], said: str
) -> None:
    """With an error, as for every request that cannot be taken up."""
    executor.enqueue_request(module.Request(**arguments(module, **changes)))
    answers: list[Any] = []
    while not answers:
        answers = executor.await_responses(timeout=timedelta(seconds=5))
    assert said in answers[0].error_msg
    with pytest.raises(RuntimeError):
        _ = answers[0].result


@pytest.mark.parametrize(
    "changes",
    [
        {"enable_block_reuse": None},  # on by default: another caller's audio
        {"enable_block_reuse": True},
        {"max_beam_width": 5},
        {"batching_type": None},
        {"parallel_config": None},
        {"max_batch_size": 8},  # checked against the encoder, whose batch is 1
        {"gather_generation_logits": True},  # corrupts concurrent requests, upstream #15461
    ],
)
def test_a_wrong_configuration_is_refused(
    module: Any, folder: Path, changes: dict[str, Any]
) -> None:
    """Also what is only wrong for an encoder and a decoder."""
    with pytest.raises((TypeError, AttributeError)):
        module.Executor(
            str(folder / "encoder"),
            str(folder / "decoder"),
            module.ModelType.ENCODER_DECODER,
            config(module, **changes),
        )


def test_the_cross_fraction_is_mandatory(module: Any, folder: Path) -> None:
    """As in the real one, upstream #2419."""
    with pytest.raises(RuntimeError, match="cross_kv_cache_fraction"):
        module.Executor(
            str(folder / "encoder"),
            str(folder / "decoder"),
            module.ModelType.ENCODER_DECODER,
            config(module, cross_kv_cache_fraction=None),
        )


def test_a_full_queue_and_a_closed_executor_throw(module: Any, folder: Path) -> None:
    """Where the caller calls, not in an answer."""
    executor = module.Executor(
        str(folder / "encoder"),
        str(folder / "decoder"),
        module.ModelType.ENCODER_DECODER,
        config(module),
    )
    sampling = module.SamplingConfig(
        beam_width=1, top_k=0, top_p=1.0, temperature=0.5, num_return_sequences=3
    )
    with pytest.raises(RuntimeError, match="queue size"):
        executor.enqueue_request(module.Request(**arguments(module, sampling_config=sampling)))
    executor.shutdown()
    for call in (
        lambda: executor.await_responses(timeout=timedelta(0)),
        lambda: executor.cancel_request(1),
        executor.get_latest_iteration_stats,
    ):
        with pytest.raises(RuntimeError, match="Shutdown called"):
            call()


def test_every_attribute_that_we_read_is_recorded() -> None:
    """What the double has and the real one has not would prove nothing."""
    assert {"request_id", "client_id", "error_msg", "result"} == set(
        recordings.attributes("Response")
    )
    read = {"is_final", "is_sequence_final", "sequence_index", "output_token_ids", "finish_reasons"}
    assert read <= set(recordings.attributes("Result"))
    assert {"kv_cache_stats", "cross_kv_cache_stats"} <= set(
        recordings.attributes("IterationStats")
    )
    assert {"max_num_blocks", "tokens_per_block", "reused_blocks"} <= set(
        recordings.attributes("KvCacheStats")
    )
