"""Opens Whisper engines for NVIDIA GPUs: what has to be here, and one executor a GPU.

Knows: TensorRT-LLM and PyTorch are installed or not, which GPUs these are, whether the engine is
    the one that was built for them.
Must not know: how an engine decodes (`in_flight.py`), how it was built.
Only `load` imports TensorRT-LLM and PyTorch. Nothing of this has run on a GPU:
docs/tensorrt_llm.md says what is proven, and how.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

from server.decoding.tokenizer import Tokenizer
from server.engines import manifest as manifests
from server.engines.arrays import Arrays
from server.engines.batching import WINDOW_TIMEOUT
from server.engines.device_queue import DeviceQueue
from server.engines.executor import WindowExecutor
from server.engines.executor_calls import Bindings
from server.engines.in_flight import Aligner, InFlightEngine
from server.engines.logits import LogitsProcessor
from server.engines.manifest import Manifest, Running
from server.errors import EngineError

PACKAGES = ("tensorrt_llm", "tensorrt")

TIMESTAMPS = 1501
"""Timestamp tokens: 0 to 30 s in steps of 20 ms, the last of the vocabulary."""

KV_CACHE_FRACTION = 0.8
"""Of the memory that is free once engine and word aligner are loaded."""


def load(  # noqa: PLR0913 - settings of one model, by name
    model: str,
    path: Path,
    tokenizer: Tokenizer,
    *,
    devices: Sequence[int] = (0,),
    aligner_weights: Path | None = None,
    kv_cache_fraction: float = KV_CACHE_FRACTION,
    window_timeout: float = WINDOW_TIMEOUT,
    gated: bool = True,
    hashed: bool = False,
) -> InFlightEngine:
    """Open the engine in `path` on each of the GPUs; blocks while gigabytes are read and hashed.

    Args:
        model: the name under which the engine is known.
        path: a folder as `engine_build` leaves it: manifest.json, encoder, decoder.
        tokenizer: of the same weights.
        devices: numbers of the GPUs, as CUDA counts them.
        aligner_weights: what the engine was built from, openai-whisper's checkpoint (`.pt`) or
            CTranslate2's folder, to place words with; None: words cannot be placed.
        kv_cache_fraction: of each GPU's memory that is then free, for keys and values.
        window_timeout: seconds without progress after which the engine counts as stuck.
        gated: False for the gate itself, which opens what has not passed it yet.
        hashed: True for whoever has just compared every byte, as the choice of an engine does.

    Raises:
        EngineError: TensorRT-LLM or a GPU is missing, the engine is not the one that was built or
            was built for something else, or cannot be loaded; it says what to do.
    """
    try:
        from tensorrt_llm.bindings import executor as bindings  # noqa: PLC0415 - GPUs only

        from server.engines.torch_arrays import (  # noqa: PLC0415 - GPUs only
            TorchArrays,
            name_and_capability,
        )
    except (ImportError, OSError) as error:
        raise EngineError(
            "TensorRT-LLM cannot be imported here: it needs an NVIDIA driver and the GPU image."
        ) from error
    cards = []
    for device in dict.fromkeys(devices):
        try:
            name, capability = name_and_capability(device)
        except (RuntimeError, AssertionError, ValueError) as error:
            raise EngineError(f"There is no GPU {device} here.") from error
        cards.append(Running(name, capability, installed(PACKAGES)))
    manifest = verify(path, cards, gated=gated, hashed=hashed)
    aligner = None
    if aligner_weights is not None:
        # Before the executor, which then takes its share of the memory that is left.
        from server.engines.word_aligner import WordAligner  # noqa: PLC0415 - GPUs only

        aligner = WordAligner.load(
            aligner_weights, manifest, tokenizer, device=f"cuda:{devices[0]}"
        )
    return open_engine(
        model, path, manifest, tokenizer, bindings,
        {device: TorchArrays(device) for device in devices},
        aligner=aligner, kv_cache_fraction=kv_cache_fraction, window_timeout=window_timeout,
    )  # fmt: skip


def verify(
    path: Path, cards: Sequence[Running], *, gated: bool = True, hashed: bool = False
) -> Manifest:
    """The engine's manifest, if it was built for every one of these cards.

    Raises:
        EngineError: see `manifest.verify`; the files are hashed once.
    """
    first, *others = cards
    manifest = manifests.verify(path, first, gated=gated, hashed=hashed)
    for card in others:
        manifests.verify(path, card, gated=gated, hashed=True)
    return manifest


def installed(packages: Sequence[str]) -> dict[str, str]:
    """Versions by package name, of those that are here."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def open_engine(  # noqa: PLR0913, PLR0917 - the parts that `load` finds, and tests bring
    model: str,
    path: Path,
    manifest: Manifest,
    tokenizer: Tokenizer,
    bindings: Bindings,
    arrays: Mapping[int, Arrays],
    *,
    aligner: Aligner | None = None,
    kv_cache_fraction: float = KV_CACHE_FRACTION,
    window_timeout: float = WINDOW_TIMEOUT,
) -> InFlightEngine:
    """One executor on each device of `arrays`, behind one engine.

    Raises:
        EngineError: the tokenizer is of other weights, or an executor cannot be opened.
    """
    n_vocab = manifest.dims["n_vocab"]
    if tokenizer.timestamp_begin + TIMESTAMPS != n_vocab:
        raise EngineError(f"The tokenizer is not that of {model}, which has {n_vocab} tokens.")
    executors = [
        partial(
            WindowExecutor, bindings, path, manifest, LogitsProcessor(library, tokenizer), device,
            kv_cache_fraction, window_timeout,
        )
        for device, library in arrays.items()
    ]  # fmt: skip
    try:
        queue = DeviceQueue(executors)
    except Exception as error:
        raise EngineError(f"The engine of {model} cannot be loaded on {list(arrays)}.") from error
    library = next(iter(arrays.values()))
    return InFlightEngine(
        model, manifest, tokenizer, queue, library, len(arrays), aligner, window_timeout
    )
