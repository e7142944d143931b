"""The acceptance's machine: a GPU with an engine for it, or a clear reason why there is none."""

import asyncio
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine_build.golden import GoldenWindow, read_golden
from server.audio.loader import Loader
from server.decoding.tokenizer import Tokenizer
from server.engines.device import find_devices
from server.engines.in_flight import InFlightEngine
from server.engines.manifest import Manifest, read
from server.errors import EngineError
from server.types import SAMPLE_RATE, Audio

AUDIO = Path(__file__).parents[1] / "audio"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the engine and its weights are, and how long to measure."""
    parser.addoption("--engine", type=Path, help="folder of a built engine")
    parser.addoption("--checkpoint", type=Path, help="what it was built from")
    parser.addoption("--gpus", default="0", help="numbers of the GPUs, comma-separated")
    parser.addoption("--report", type=Path, default=Path("gpu-acceptance.json"))
    parser.addoption("--seconds", type=float, default=60.0, help="of each measurement of speed")
    parser.addoption("--soak", type=float, default=600.0, help="seconds of load to watch memory in")
    parser.addoption(
        "--on-double",
        action="store_true",
        help="try the acceptance itself out on a CPU; says nothing about any engine",
    )


@dataclass
class Report:
    """What is written in the end; `results` by test."""

    started: str
    on_double: bool
    machine: dict[str, Any]
    engine: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)


def why_not(config: pytest.Config) -> str | None:
    """Why there can be no acceptance here."""
    if not config.getoption("--on-double"):
        try:
            find_devices()
        except EngineError as error:
            return f"no GPU: {error}"
        for package in ("tensorrt_llm", "torch", "whisper"):
            if importlib.util.find_spec(package) is None:
                return f"{package} is not installed in {sys.executable} (set GPU_PYTHON)"
    for option in ("--engine", "--checkpoint"):
        if config.getoption(option) is None:
            return f"{option} says which one to accept; docs/tensorrt_llm.md has the command"
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip everything, with the reason, where there is nothing to accept."""
    if reason := why_not(config):
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Iterator[Report]:
    """Written when all is done, also after failures."""
    double = pytestconfig.getoption("--on-double")
    machine = {} if double else {"gpus": [asdict(each) for each in find_devices()]}
    kept = Report(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), double, machine)
    pytestconfig.stash[KEPT] = kept
    yield kept
    path: Path = pytestconfig.getoption("--report")
    path.write_text(json.dumps(asdict(kept), indent=2, default=str) + "\n")
    print(f"\nthe report is in {path.resolve()}")  # noqa: T201 - for the operator


KEPT: pytest.StashKey[Report] = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Keep each test's outcome for the report."""
    result = yield
    kept = item.config.stash.get(KEPT, None)
    if kept is not None and result.when == "call":
        kept.outcomes[item.name] = result.outcome
    return result


@pytest.fixture(scope="session")
def folder(pytestconfig: pytest.Config) -> Path:
    """The engine's."""
    return Path(pytestconfig.getoption("--engine")).resolve()


@pytest.fixture(scope="session")
def manifest(folder: Path, report: Report) -> Manifest:
    """As the build left it."""
    found = read(folder)
    report.engine = {
        "model": found.model, "gpu": found.gpu_name, "windows": found.windows,
        "versions": dict(found.versions), "weights_sha256": found.weights_sha256,
    }  # fmt: skip
    return found


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> Tokenizer:
    """Beside the engine."""
    return Tokenizer.load(folder / "tokenizer.json")


@pytest.fixture(scope="session")
def whisper_model(pytestconfig: pytest.Config, manifest: Manifest) -> Any:
    """openai-whisper itself, in float32 on the first GPU (on the CPU for the double)."""
    import torch  # noqa: PLC0415 - where an acceptance runs
    import whisper  # noqa: PLC0415

    from server.engines.word_aligner import whisper_model as load_whisper  # noqa: PLC0415

    if pytestconfig.getoption("--on-double"):
        torch.set_num_threads(1)  # on cores that others use too, several wait for each other
    device = "cpu" if pytestconfig.getoption("--on-double") else "cuda:0"
    model = load_whisper(pytestconfig.getoption("--checkpoint"), device)
    model.set_alignment_heads(whisper._ALIGNMENT_HEADS[manifest.model])
    return model


@pytest.fixture(scope="session")
def engine(
    pytestconfig: pytest.Config, folder: Path, manifest: Manifest, tokenizer: Tokenizer
) -> Iterator[InFlightEngine]:
    """As the server loads it, with its word aligner."""
    checkpoint = Path(pytestconfig.getoption("--checkpoint"))
    if pytestconfig.getoption("--on-double"):
        from engine_folder import open_double  # noqa: PLC0415 - only for the dry run

        from server.engines.word_aligner import WordAligner  # noqa: PLC0415 - needs torch

        aligner = WordAligner.load(checkpoint, manifest, tokenizer, device="cpu")
        opened = open_double(folder, manifest, tokenizer, aligner=aligner, window_timeout=600)
    else:
        from server.engines.tensorrt_llm import load  # noqa: PLC0415 - where there is a GPU

        gpus = [int(each) for each in pytestconfig.getoption("--gpus").split(",")]
        opened = load(manifest.model, folder, tokenizer, devices=gpus, aligner_weights=checkpoint)
    yield opened
    opened.close(10)


@pytest.fixture(scope="session")
def windows(manifest: Manifest, pytestconfig: pytest.Config) -> tuple[GoldenWindow, ...]:
    """The spoken clips, each a window; two for the dry run."""
    found = read_golden(AUDIO / "manifest.tsv", manifest.dims["n_mels"])
    return found[:2] if pytestconfig.getoption("--on-double") else found


@pytest.fixture(scope="session")
def minute(pytestconfig: pytest.Config) -> Audio:
    """A minute of speech; eight seconds for the dry run."""

    async def load(path: Path) -> Audio:
        with tempfile.TemporaryDirectory() as spool, path.open("rb") as file:
            loader = Loader(
                spool_dir=Path(spool), max_audio_seconds=600, load_timeout=60, max_loads=1,
                sandbox="available",
            )  # fmt: skip
            try:
                await loader.start()
                return await loader.load(file.fileno())
            finally:
                await loader.close()

    audio = asyncio.run(load(AUDIO / "en-long.ogg"))
    double = pytestconfig.getoption("--on-double")
    return Audio(audio.pcm[: 8 * SAMPLE_RATE]) if double else audio


def memory_mib(process: int) -> dict[str, int]:
    """Of this process, and of the GPUs as a whole."""
    status = Path(f"/proc/{process}/status").read_text().split("VmRSS:")[1].split()[0]
    found = {"process": int(status) // 1024}
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        used = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return found
    return found | {"gpus": sum(int(line) for line in used.stdout.split())}
