from datetime import timedelta
from typing import Any

import pytest

from engine_build import recordings

REQUEST: dict[str, Any] = {
    "sampling_config": None,
    "output_config": None,
    "end_id": 50257,
    "pad_id": 50257,
    "client_id": 1,
    "encoder_input_features": None,
    "encoder_output_length": 1500,
    "logits_post_processor_name": "batched",
    "num_return_sequences": 1,
    "allotted_time_ms": timedelta(seconds=1),
}


def accepts(name: str, *args: Any, **kwargs: Any) -> bool:
    """Whether any form of the callable binds the call."""
    for signature in recordings.signatures(name):
        try:
            signature.bind(*args, **kwargs)
        except TypeError:
            continue
        return True
    return False


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("Executor", ("enc", "dec", "type", "config"), {}),
        ("Executor.await_responses", (), {"timeout": timedelta(milliseconds=100)}),
        ("Executor.await_responses", (7,), {"timeout": None}),
        ("Executor.await_responses", ([7, 8],), {}),
        ("Executor.cancel_request", (7,), {}),
        ("KvCacheConfig", (), {"enable_block_reuse": False, "cross_kv_cache_fraction": 0.77}),
        ("LogitsPostProcessorConfig", (), {"processor_batched": print, "replicate": False}),
        ("SamplingConfig", (1,), {"top_k": 1, "seed": 3, "temperature": 0.2}),
        ("OutputConfig", (), {"exclude_input_from_output": True, "return_log_probs": True}),
        ("Request", ([50258], 224), REQUEST),
        ("ExecutorConfig", (1,), {"max_queue_size": 64, "logits_post_processor_config": None}),
    ],
)
def test_calls_that_whisper_needs_are_accepted(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """As the sources have them."""
    assert accepts(name, *args, **kwargs)


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("Request", ([50258],), {"max_new_tokens": 224}),  # upstream's own example, long gone
        ("Request", ([50258], 224, True), {}),  # by name only
        ("SamplingConfig", (1, 50), {}),
        ("Executor", ("enc", "dec"), {}),
        ("Executor.enqueue_request", (), {}),
        ("OutputConfig", (), {"return_logits": True}),
    ],
)
def test_stale_calls_are_not(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """A name or an order of other versions does not bind."""
    assert not accepts(name, *args, **kwargs)


def test_what_was_not_recorded_is_no_guess() -> None:
    """Asking for it is a mistake that shows."""
    with pytest.raises(KeyError):
        recordings.signatures("Executor.generate")


def test_every_method_belongs_to_a_recorded_class() -> None:
    """And classes, attributes and enumerations are there."""
    names = recordings.callables()
    owners = {name.partition(".")[0] for name in names if "." in name}
    assert {"Executor", "Response"} == owners
    assert "result" in recordings.attributes("Response")
    assert "CANCELLED" in recordings.members("FinishReason")


@pytest.mark.parametrize("name", ["trtllm_build", "executor", "checkpoints"])
def test_each_record_names_its_source(name: str) -> None:
    """A number without a source cannot be checked."""
    text = (recordings.FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    assert "# Source" in text.split("\n\n", 1)[0] + text
    assert "1.2.1" == recordings.version()


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        (["--max_batch_size", "8", "--dry_run", "--gemm_plugin", "auto"], []),
        (["--max_output_len", "96"], ["--max_output_len is unknown", "96 is no flag"]),
        (["--max_batch_size", "many"], ["--max_batch_size does not accept many"]),
        (["--max_batch_size"], ["--max_batch_size needs a value"]),
        (["--gemm_plugin", "--dry_run"], ["--gemm_plugin needs a value"]),
        (["--remove_input_padding", "true"], ["--remove_input_padding does not accept true"]),
        (["--paged_kv_cache", "enable"], ["--paged_kv_cache is deprecated", "enable is no flag"]),
        (["build"], ["build is no flag"]),
    ],
)
def test_flags_are_compared_with_the_record(arguments: list[str], problems: list[str]) -> None:
    """Unknown, deprecated, without a value or with a wrong one."""
    assert problems == recordings.problems_of(arguments)
