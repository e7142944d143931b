"""What the TensorRT-LLM engine does in PyTorch: its callback, its word aligner, its acceptance."""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import whisper
from engine_folder import make_folder
from executor_double import STREAM
from numpy_arrays import NumpyArrays
from random_whisper import random_checkpoint
from torch.utils._python_dispatch import TorchDispatchMode
from whisper.timing import find_alignment

from engine_build import checkpoint as checkpoints
from engine_build.dims import ModelDimensions
from ops.accuracy import checkpoint as peers
from server.decoding.rules import Rules
from server.decoding.tokenizer import Tokenizer
from server.engines.logits import Course, LogitsProcessor
from server.engines.manifest import Manifest
from server.engines.torch_arrays import TorchArrays
from server.engines.word_aligner import WordAligner
from server.errors import EngineError
from server.types import AlignmentRequest, GenerationOptions, LogMel

SMALL = ModelDimensions(80, 1500, 64, 2, 1, 51_865, 448, 64, 8, 6)
"""As many decoder layers and heads as base, whose alignment heads are used."""

ROOT = Path(__file__).parents[2]
N_VOCAB = 51_865
WAITS = {
    "_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "equal", "unique",
    "_to_copy", "tolist",
}  # fmt: skip
"""Operations that make the host wait for a GPU, or copy across."""


class CpuTorch(TorchArrays):
    """The GPU's arrays without the GPU: the same code, no streams and no page-locked memory."""

    def __init__(self) -> None:
        self._device = torch.device("cpu")
        self._done = None

    def mask(self, values: Any) -> torch.Tensor:
        return torch.from_numpy(values)

    @contextlib.contextmanager
    def on_stream(self, pointer: int) -> Iterator[None]:
        with torch.inference_mode():
            yield


class Waiting(TorchDispatchMode):
    """Notes every operation that would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.split(".")[0]
        if name in WAITS:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


def steps(
    processor: LogitsProcessor, tokenizer: Tokenizer, wrap: Any, steps_wanted: int
) -> list[list[np.ndarray]]:
    """Five sequences of four windows through a few steps on random logits; the logits after."""
    options = GenerationOptions(suppress_tokens=tokenizer.suppress_tokens)
    with_stamps = tokenizer.sot_sequence("pt", "transcribe")
    without = (*tokenizer.sot_sequence("en", "transcribe"), tokenizer.no_timestamps)
    for client, prompt in enumerate((with_stamps, without, with_stamps, without)):
        rules = Rules.of(tokenizer, options, prompt)
        processor.open(client, Course(1, prompt[1:], rules))
    clients = [0, 1, 2, 3, 3]
    tokens = [[tokenizer.sot] for _ in clients]
    random = np.random.default_rng(4)
    seen = []
    for _ in range(steps_wanted):
        logits = [random.normal(0, 3, (1, 1, N_VOCAB)).astype(np.float32) for _ in clients]
        given = [wrap(each.copy()) for each in logits]
        processor([7, 8, 9, 10, 11], given, [[each] for each in tokens], STREAM, clients)
        seen.append([np.asarray(each) for each in given])
        for each, values in zip(tokens, seen[-1], strict=True):
            each.append(int(values.argmax()))
    return seen


def test_the_callback_is_the_same_in_both_libraries(tokenizer: Tokenizer) -> None:
    """Step by step the same logits, in the end the same sums and probabilities."""
    ours, theirs = (LogitsProcessor(each, tokenizer) for each in (NumpyArrays(), CpuTorch()))
    expected = steps(ours, tokenizer, lambda each: each, 12)
    found = steps(theirs, tokenizer, torch.from_numpy, 12)
    for one, other in zip(expected, found, strict=True):
        for a, b in zip(one, other, strict=True):
            assert np.array_equal(a, b)
    for client, count in ((0, 1), (1, 1), (2, 1), (3, 2)):
        lasts = [100 + tokenizer.timestamp_begin * (client % 2 == 0)] * count
        for a, b in zip(ours.finish(client, lasts), theirs.finish(client, lasts), strict=True):
            assert a.no_speech_prob == pytest.approx(b.no_speech_prob, rel=1e-4)
            assert a.language_probs == pytest.approx(b.language_probs, rel=1e-4)
            if np.isfinite(a.sum_logprob) or np.isfinite(b.sum_logprob):
                assert a.sum_logprob == pytest.approx(b.sum_logprob, rel=1e-4)


def test_no_step_waits_for_the_gpu(tokenizer: Tokenizer) -> None:
    """Neither forced steps nor free ones read a number back or copy anything across."""
    processor = LogitsProcessor(CpuTorch(), tokenizer)
    with Waiting() as waiting:
        steps(processor, tokenizer, torch.from_numpy, 8)
    assert [] == waiting.seen
    with Waiting() as waiting:
        float(torch.ones(3).sum())
    assert ["_local_scalar_dense"] == waiting.seen


@pytest.fixture(scope="module")
def built(
    weights_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Manifest]:
    """openai-whisper's checkpoint, and an engine that was built from it."""
    folder = tmp_path_factory.mktemp("built")
    path = folder / "base.pt"
    peers.convert(weights_dir / "base", path)
    engine = folder / "engine"
    engine.mkdir()
    shutil.copyfile(weights_dir / "base" / "tokenizer.json", engine / "tokenizer.json")
    return path, engine, make_folder(engine, checkpoints.read(path))


def test_words_are_openai_whispers(
    built: tuple[Path, Path, Manifest],
    weights_dir: Path,
    tokenizer: Tokenizer,
    peer: Any,
    peer_tokenizer: Any,
    windows: Mapping[str, LogMel],
) -> None:
    """The same first frame for every word, the same probabilities, in both languages.

    Once with the weights from openai-whisper's checkpoint, once from CTranslate2's folder.
    """
    path, _, manifest = built
    weights = {"en-river": path, "pt-chuva": weights_dir / "base"}
    digest = hashlib.sha256((weights_dir / "base" / "model.bin").read_bytes()).hexdigest()
    manifests = {"en-river": manifest, "pt-chuva": replace(manifest, weights_sha256=digest)}
    peer.set_alignment_heads(whisper._ALIGNMENT_HEADS["base"])
    texts = {"en-river": " After three weeks of rain, the sun came out", "pt-chuva": " Depois"}
    for name, text in texts.items():
        tokens = tokenizer.encode(text)
        theirs = find_alignment(
            peer,
            peer_tokenizer(language=name[:2], task="transcribe"),
            list(tokens),
            torch.from_numpy(windows[name]),
            480,
        )
        sot = tokenizer.sot_sequence(name[:2], "transcribe")
        aligner = WordAligner.load(weights[name], manifests[name], tokenizer, device="cpu")
        found = aligner.align(windows[name], AlignmentRequest(1, sot, tokens, 480))
        onset: dict[int, int] = {}
        for token, frame in found.path:
            onset.setdefault(token, frame)
        at = 0
        for word in theirs:
            if at < len(tokens):
                assert word.start == pytest.approx(onset[at] / 50, abs=1e-6)
                probs = found.text_token_probs[at : at + len(word.tokens)]
                assert word.probability == pytest.approx(float(np.mean(probs)), abs=1e-4)
            at += len(word.tokens)


def test_other_weights_are_refused(
    built: tuple[Path, Path, Manifest], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """Words of another model would be placed where nobody said them."""
    _, _, manifest = built
    other = tmp_path / "other.pt"
    other.write_bytes(b"something else")
    with pytest.raises(EngineError, match="not those that the engine of base was built from"):
        WordAligner.load(other, manifest, tokenizer, device="cpu")


@pytest.mark.timeout(900)
def test_the_acceptance_itself_works(weights_dir: Path, tmp_path: Path) -> None:
    """On the double, with small random weights: all of it passes, and the report has all figures.

    It has openai-whisper, with the same weights, agree with the engine on every token.
    """
    small = random_checkpoint(SMALL, np.float32)
    tensors = {
        name: torch.from_numpy((value * np.float32(0.2)).astype(np.float16))
        for name, value in small.tensors.items()
    }
    path, engine, report = (tmp_path / name for name in ("base.pt", "engine", "report.json"))
    torch.save({"dims": SMALL.as_dict(), "model_state_dict": tensors}, path)
    engine.mkdir()
    shutil.copyfile(weights_dir / "base" / "tokenizer.json", engine / "tokenizer.json")
    make_folder(engine, checkpoints.read(path))
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-c", str(ROOT / "tests/gpu/pytest.ini"),
            str(ROOT / "tests/gpu"), "-q", "--on-double", "--engine", str(engine),
            "--checkpoint", str(path), "--report", str(report), "--seconds", "0.1", "--soak", "0.1",
        ],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert 0 == done.returncode, done.stdout[-4000:]
    found = json.loads(report.read_text())
    assert found["on_double"]
    assert {"gate", "probabilities", "word_starts_apart_s", "speed", "memory_mib", "hour_s"} <= set(
        found["results"]
    )
    assert set(found["outcomes"].values()) <= {"passed", "skipped"}
