"""Opening an engine: what has to be here, and what is refused before anything runs on a GPU."""

import hashlib
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, BinaryIO

import pytest
from engine_folder import CARD, VERSIONS, make_folder, open_double, small_checkpoint
from executor_double import Watch, make_bindings
from numpy_arrays import NumpyArrays

from server.decoding.tokenizer import Tokenizer
from server.engines import manifest as manifests
from server.engines import tensorrt_llm
from server.engines.choice import choose
from server.engines.fake import byte_tokenizer
from server.engines.manifest import verify
from server.errors import EngineError
from server.loading import load_model
from server.settings import Settings

pytestmark = pytest.mark.model  # for the vocabulary

Cards = dict[int, tuple[str, str]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small engine for an L40."""
    folder = tmp_path_factory.mktemp("built")
    make_folder(folder, small_checkpoint())
    return folder


@pytest.fixture
def tokenizer(weights_dir: Path) -> Tokenizer:
    """The multilingual vocabulary."""
    return Tokenizer.load(weights_dir / "base" / "tokenizer.json")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Cards], Watch]:
    """`machine(cards)`: TensorRT-LLM is installed, and these GPUs are here."""

    def install(cards: Cards) -> Watch:
        watch = Watch()
        arrays = ModuleType("server.engines.torch_arrays")
        arrays.TorchArrays = lambda _device: NumpyArrays()  # type: ignore[attr-defined]

        def name_and_capability(device: int) -> tuple[str, str]:
            if device not in cards:
                raise AssertionError("Invalid device id")
            return cards[device]

        arrays.name_and_capability = name_and_capability  # type: ignore[attr-defined]
        bindings = ModuleType("tensorrt_llm.bindings")
        bindings.executor = make_bindings(watch=watch)  # type: ignore[attr-defined]
        modules: dict[str, Any] = {
            "tensorrt_llm": ModuleType("tensorrt_llm"),
            "tensorrt_llm.bindings": bindings,
            "server.engines.torch_arrays": arrays,
        }
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(tensorrt_llm, "installed", lambda _: VERSIONS)
        return watch

    return install


def test_without_tensorrt_llm_it_says_what_is_missing(built: Path, tokenizer: Tokenizer) -> None:
    """Here, where neither it nor PyTorch is; nothing of either was imported so far."""
    assert not {"torch", "tensorrt_llm", "whisper"} & set(sys.modules)
    with pytest.raises(EngineError, match="NVIDIA driver and the GPU image"):
        tensorrt_llm.load("base", built, tokenizer)


def test_an_engine_for_these_gpus_is_loaded_on_each(
    built: Path, tokenizer: Tokenizer, machine: Callable[[Cards], Watch]
) -> None:
    """One executor a GPU, the encoder and decoder of the folder."""
    watch = machine({0: ("NVIDIA L40", "8.9"), 1: ("NVIDIA L40", "8.9")})
    engine = tensorrt_llm.load("base", built, tokenizer, devices=(0, 1))
    assert 2 == len(watch.executors)
    assert ("tensorrt_llm", "base", 80) == (
        engine.info.name, engine.info.model, engine.info.n_mels,
    )  # fmt: skip
    engine.close(5)


@pytest.mark.parametrize(
    ("cards", "devices", "said"),
    [
        ({0: ("NVIDIA L4", "8.9")}, (0,), "built on NVIDIA L40, here is NVIDIA L4"),
        ({0: ("NVIDIA L40", "8.9")}, (0, 1), "There is no GPU 1 here"),
        (
            {0: ("NVIDIA L40", "8.9"), 1: ("NVIDIA H100 PCIe", "9.0")},
            (0, 1),
            "here is NVIDIA H100 PCIe",
        ),
    ],
)
def test_another_machine_is_refused(
    built: Path,
    tokenizer: Tokenizer,
    machine: Callable[[Cards], Watch],
    cards: Cards,
    devices: tuple[int, ...],
    said: str,
) -> None:
    """What differs, and nothing is opened, not even on the GPUs that would do."""
    watch = machine(cards)
    with pytest.raises(EngineError, match=said):
        tensorrt_llm.load("base", built, tokenizer, devices=devices)
    assert not watch.executors


def test_a_changed_engine_is_refused_with_the_command_that_builds_it(
    built: Path, tokenizer: Tokenizer, machine: Callable[[Cards], Watch], tmp_path: Path
) -> None:
    """One byte is enough: engines are programs."""
    folder = tmp_path / "engine"
    shutil.copytree(built, folder)
    file = folder / "decoder" / "rank0.safetensors"
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    file.chmod(0o444)
    watch = machine({0: ("NVIDIA L40", "8.9")})
    with pytest.raises(EngineError, match=r"SHA-256.*python -m (engine_build|ops engines)"):
        tensorrt_llm.load("base", folder, tokenizer)
    assert not watch.executors


def test_a_start_reads_every_byte_once(
    weights_dir: Path,
    machine: Callable[[Cards], Watch],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The choice compares gigabytes with the manifest; loading what was chosen does not again."""
    folder = tmp_path / "tensorrt_llm" / "base" / "20261126T120000Z-l40"
    folder.mkdir(parents=True)
    shutil.copyfile(weights_dir / "base" / "tokenizer.json", folder / "tokenizer.json")
    make_folder(folder, small_checkpoint())
    (folder.parent / "current").symlink_to(folder.name)
    hashed: list[str] = []
    digest = hashlib.file_digest

    def count(stream: BinaryIO, algorithm: str) -> Any:
        hashed.append(Path(stream.name).relative_to(folder).as_posix())
        return digest(stream, algorithm)

    monkeypatch.setattr(hashlib, "file_digest", count)
    watch = machine({0: ("NVIDIA L40", "8.9"), 1: ("NVIDIA L40", "8.9")})
    settings = Settings.from_env({"SUSSURRO_GPUS": "0,1"})
    choice = choose(
        "base", "auto", engines=tmp_path, weights=weights_dir / "base", running=lambda: CARD
    )
    loaded = load_model(settings, {"base": choice}, "base")
    loaded.engine.close(5)

    assert 2 == len(watch.executors)
    assert sorted(manifests.read(folder).files) == sorted(hashed)


def test_the_vocabulary_has_to_be_the_engines(built: Path) -> None:
    """Ids of another vocabulary would be other words."""
    with pytest.raises(EngineError, match="tokenizer is not that of base"):
        open_double(built, verify(built, CARD), byte_tokenizer())


def test_an_executor_that_cannot_be_opened_closes_the_others(
    built: Path, tokenizer: Tokenizer
) -> None:
    """Out of memory on the second GPU, say: the first is let go of, and the client sees no path."""
    watch = Watch()

    def second_fails(bindings: Any) -> Any:
        def executor(*args: Any, **kwargs: Any) -> Any:
            if watch.executors:
                raise RuntimeError("[TensorRT-LLM][ERROR] out of memory (/build/x.cpp:7)")
            return bindings.Executor(*args, **kwargs)

        return SimpleNamespace(**{**vars(bindings), "Executor": executor})

    with pytest.raises(EngineError, match="cannot be loaded") as caught:
        open_double(
            built, verify(built, CARD), tokenizer, watch=watch, devices=(0, 1), wrap=second_fails
        )
    assert "/" not in str(caught.value)
    assert watch.executors[0].stopped


def test_the_cache_is_shared_out_as_the_plan_says(built: Path, tokenizer: Tokenizer) -> None:
    """The fraction for cross-attention is the manifest's, the rest of the memory a setting."""
    watch = Watch()
    manifest = replace(verify(built, CARD), cross_kv_cache_fraction=0.61)
    open_double(built, manifest, tokenizer, watch=watch).close(5)
    cache = watch.executors[0].config.kv_cache_config
    assert (0.61, 0.8) == (cache.cross_kv_cache_fraction, cache.free_gpu_memory_fraction)
