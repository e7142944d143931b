"""What is built for a GPU: the shapes of both engines, and the memory that they will need.

Knows: Whisper's sizes, TensorRT-LLM's cache layout, the GPU's memory.
Must not know: how anything is compiled. Every number that is an estimate says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from engine_build.dims import ModelDimensions, expected_shapes
from engine_build.errors import PlanError
from engine_build.gpus import Gpu

FP16 = 2
FP32 = 4
TOKENS_PER_BLOCK = 32
"""Of the paged key-value cache; `trtllm-build` has it as default."""

DECODER_TOKENS = 8192
"""Most decoder tokens in one step; `trtllm-build` has it as default. A step takes in at most one
new window, since the encoder runs one, so this is ample."""

RUNTIME_BYTES = 2 << 30
"""Estimate: CUDA context, TensorRT's and PyTorch's kernels and allocators."""

USABLE = 0.95
"""Of the card's memory; the rest is for fragmentation, and for the estimates' errors."""


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the memory budget; `how` says what was multiplied."""

    name: str
    bytes: int
    how: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Shapes of both engines for one model on one GPU.

    `windows` is the decoder's batch: how many windows may be in flight.
    """

    model: str
    gpu: Gpu
    dims: ModelDimensions
    windows: int

    encoder_windows: ClassVar[int] = 1
    """The packed encoder convolves over all its windows as if they were one, so neighbours touch.
    Alone, a window's result cannot depend on who shares the batch."""

    @property
    def frames(self) -> int:
        """Log-mel frames of a window: the encoder halves them."""
        return 2 * self.dims.n_audio_ctx

    @property
    def max_input_len(self) -> int:
        """Longest prompt: half the context for what was said before, the task's four tokens."""
        return self.dims.n_text_ctx // 2 + 4

    @property
    def max_seq_len(self) -> int:
        """Prompt and answer together: all that Whisper knows positions for."""
        return self.dims.n_text_ctx

    @property
    def cross_kv_cache_fraction(self) -> float:
        """The part of the key-value cache that goes to cross-attention, for the executor.

        Both pools then hold the same number of windows.
        """
        cross, own = _cross_kv(self), _self_kv(self)
        return round(cross / (cross + own), 3)


def make_plan(model: str, gpu: Gpu, dims: ModelDimensions, windows: int | None = None) -> Plan:
    """The plan for `windows` in flight, by default as many as are usual on this GPU.

    Raises:
        PlanError: it does not fit the GPU's memory.
    """
    plan = Plan(model, gpu, dims, windows or gpu.windows)
    need, room = _need(plan), usable_bytes(gpu)
    if need > room:
        one, two = (_need(Plan(model, gpu, dims, count)) for count in (1, 2))
        fits = 1 + (room - one) // (two - one)
        advice = f"at most {fits} fit (--windows)" if fits > 0 else "not even one fits"
        raise PlanError(
            f"{model} with {plan.windows} windows in flight needs {need / 2**30:.1f} GiB, "
            f"{gpu.key} has {room / 2**30:.1f} GiB to use; {advice}"
        )
    return plan


def _need(plan: Plan) -> int:
    return sum(item.bytes for item in budget(plan))


def usable_bytes(gpu: Gpu) -> int:
    """What a plan may spend of the GPU's memory."""
    return int(gpu.memory_mib * USABLE) << 20


def budget(plan: Plan) -> tuple[Item, ...]:
    """Everything that lies in the GPU's memory while all windows are in flight."""
    return tuple(_items(plan))


def _items(plan: Plan) -> Iterator[Item]:
    dims = plan.dims
    encoder, decoder = _parameters(dims, "encoder"), _parameters(dims, "decoder")
    yield Item("encoder weights", FP16 * encoder, f"{encoder / 1e6:.0f} M in fp16")
    # The converted checkpoint holds the embedding twice; whether the engine does is not known.
    head = dims.n_vocab * dims.n_text_state
    yield Item(
        "decoder weights", FP16 * (decoder + head), f"{(decoder + head) / 1e6:.0f} M in fp16"
    )
    yield Item(
        "cross-attention cache",
        plan.windows * _cross_kv(plan),
        f"{plan.windows} windows of {_cross_kv(plan) / 1e6:.1f} MB",
    )
    yield Item(
        "self-attention cache",
        plan.windows * _self_kv(plan),
        f"{plan.windows} windows of {_self_kv(plan) / 1e6:.1f} MB",
    )
    yield Item("encoder activations", _encoder_activations(plan), "estimate: unfused attention")
    yield Item(
        "decoder activations", _decoder_activations(plan), f"estimate: {DECODER_TOKENS} tokens"
    )
    yield Item("word aligner", _aligner(plan), "estimate: PyTorch model, fp16, and its attention")
    yield Item("runtime", RUNTIME_BYTES, "estimate: CUDA, TensorRT, PyTorch")


def _parameters(dims: ModelDimensions, tower: str) -> int:
    total = 0
    for name, shape in expected_shapes(dims).items():
        if name.startswith(tower):
            count = 1
            for size in shape:
                count *= size
            total += count
    return total


def _blocks(tokens: int) -> int:
    """Tokens that a paged cache reserves for so many."""
    return -(-tokens // TOKENS_PER_BLOCK) * TOKENS_PER_BLOCK


def _cross_kv(plan: Plan) -> int:
    """One window's keys and values of what was heard, in all decoder layers."""
    dims = plan.dims
    return 2 * dims.n_text_layer * _blocks(dims.n_audio_ctx) * dims.n_text_state * FP16


def _self_kv(plan: Plan) -> int:
    """One window's keys and values of what was written, at full length."""
    dims = plan.dims
    return 2 * dims.n_text_layer * _blocks(plan.max_seq_len) * dims.n_text_state * FP16


def _encoder_activations(plan: Plan) -> int:
    """Upper estimate: both convolutions, a block's residual, qkv and MLP, scores of all heads."""
    dims = plan.dims
    convolutions = plan.frames * (dims.n_mels + 2 * dims.n_audio_state)
    block = dims.n_audio_ctx * 12 * dims.n_audio_state
    scores = dims.n_audio_head * dims.n_audio_ctx**2
    return plan.encoder_windows * FP16 * (convolutions + block + scores)


def _decoder_activations(plan: Plan) -> int:
    """Upper estimate: a block's residual, qkv and MLP for a full step; logits, three times."""
    dims = plan.dims
    block = DECODER_TOKENS * 12 * dims.n_text_state * FP16
    return block + 3 * plan.windows * dims.n_vocab * FP32


def _aligner(plan: Plan) -> int:
    """openai-whisper keeps the cross-attention of all layers while it aligns one window."""
    dims = plan.dims
    weights = _parameters(dims, "encoder") + _parameters(dims, "decoder")
    attention = dims.n_text_layer * dims.n_text_head * plan.max_seq_len * dims.n_audio_ctx
    return FP16 * (weights + attention)


def explain(plan: Plan) -> str:
    """The plan and its budget as a table for a person."""
    gpu = plan.gpu
    items = budget(plan)
    total, room = _need(plan), usable_bytes(gpu)
    lines = [
        f"{plan.model} on {gpu.key}: capability {gpu.compute_capability}, {gpu.memory_mib:,} MiB",
        f"  windows in flight        {plan.windows:>6}",
        f"  windows encoded at once  {plan.encoder_windows:>6}",
        f"  prompt, at most          {plan.max_input_len:>6} tokens",
        f"  prompt and answer        {plan.max_seq_len:>6} tokens",
        f"  cross_kv_cache_fraction  {plan.cross_kv_cache_fraction:>6}",
        "",
    ]
    lines += [f"  {item.name:24} {item.bytes / 2**30:6.2f} GiB  {item.how}" for item in items]
    lines += [
        f"  {'together':24} {total / 2**30:6.2f} GiB",
        f"  {'usable':24} {room / 2**30:6.2f} GiB  {USABLE:.0%} of the card",
    ]
    return "\n".join(lines)
