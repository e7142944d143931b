"""Converted base weights on TensorRT-LLM's graph, against CTranslate2 on the same weights."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy_whisper import NumpyWhisper, gelu_exact, gelu_tanh
from random_whisper import TINY, random_checkpoint

from engine_build import checkpoint
from engine_build.convert import convert
from engine_build.golden import GoldenWindow, read_golden
from server.decoding import rules
from server.decoding.prompt import build_prompt
from server.decoding.tokenizer import Tokenizer
from server.engines import ctranslate2
from server.engines.ctranslate2 import CTranslate2Engine
from server.types import GenerationOptions, GenerationRequest

TABLE = Path(__file__).parents[1] / "audio" / "manifest.tsv"
CLIPS = ("en-river", "en-kitchen", "pt-reuniao", "pt-chuva")
MAX_TOKENS = 224


@pytest.fixture(scope="module")
def converted(weights_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whisper base as TensorRT-LLM checkpoints."""
    folder = tmp_path_factory.mktemp("converted")
    convert(checkpoint.read(weights_dir / "base"), folder)
    return folder


@pytest.fixture(scope="module")
def whisper(converted: Path) -> NumpyWhisper:
    """With TensorRT-LLM's form of GELU."""
    return NumpyWhisper(converted)


@pytest.fixture(scope="module")
def engine(weights_dir: Path) -> Iterator[CTranslate2Engine]:
    """The same weights in float32."""
    loaded = ctranslate2.load(
        "base", weights_dir / "base", compute_type="float32", workers=1, threads=2,
        max_batch_size=1,
    )  # fmt: skip
    yield loaded
    loaded.close(5)


@pytest.fixture(scope="module")
def tokenizer(weights_dir: Path) -> Tokenizer:
    """Of the same weights."""
    return Tokenizer.load(weights_dir / "base" / "tokenizer.json")


@pytest.fixture(scope="module")
def clips() -> Mapping[str, GoldenWindow]:
    """The spoken clips by name."""
    return {Path(window.name).stem: window for window in read_golden(TABLE, 80)}


def greedy(
    whisper: NumpyWhisper, encoded: np.ndarray, tokenizer: Tokenizer, prompt: Sequence[int]
) -> tuple[tuple[int, ...], float]:
    """The likeliest allowed token, again and again: tokens, and the sum of log-probabilities."""
    options = GenerationOptions(suppress_tokens=tokenizer.suppress_tokens)
    wanted = rules.Rules.of(tokenizer, options, prompt)
    cache = whisper.start(encoded)
    logits = whisper.step(prompt, cache)[-1:]
    suppressed = wanted.suppressed(logits.shape[1])
    tokens: list[int] = []
    total = 0.0
    while len(tokens) < MAX_TOKENS:
        rules.apply(np, logits, [tokens], wanted, suppressed)
        best = int(logits[0].argmax())
        total -= float(np.log(np.exp(logits[0] - logits[0, best]).sum()))
        if best == tokenizer.eot:
            break
        tokens.append(best)
        logits = whisper.step([best], cache)
    return tuple(tokens), total


@pytest.mark.model
@pytest.mark.parametrize("name", CLIPS)
def test_the_same_tokens_as_ctranslate2(
    whisper: NumpyWhisper,
    engine: CTranslate2Engine,
    tokenizer: Tokenizer,
    clips: Mapping[str, GoldenWindow],
    name: str,
) -> None:
    """Greedily, with and without timestamps: every token, and nearly the same certainty."""
    clip = clips[name]
    (encoded,) = whisper.encode([clip.features.T])
    options = GenerationOptions(beam_size=1, suppress_tokens=tokenizer.suppress_tokens)
    for without_timestamps in (False, True):
        prompt = build_prompt(
            tokenizer, clip.language, "transcribe", without_timestamps=without_timestamps
        )
        request = GenerationRequest(1, prompt, options, features=clip.features)
        expected = engine.generate(request).result().hypotheses[0]
        tokens, sum_logprob = greedy(whisper, encoded, tokenizer, prompt)
        assert expected.tokens == tokens
        assert expected.avg_logprob == pytest.approx(sum_logprob / (len(tokens) + 1), abs=0.003)


@pytest.mark.model
def test_packed_windows_touch(whisper: NumpyWhisper, clips: Mapping[str, GoldenWindow]) -> None:
    """Packed as TensorRT-LLM packs, a neighbour changes a window: so the plan encodes one."""
    first, second = (clips[name].features.T for name in CLIPS[:2])
    (alone,) = whisper.encode([first])
    packed, _ = whisper.encode([first, second])
    assert np.abs(alone - packed).max() > 1e-3


def test_a_step_at_a_time_is_all_at_once(tmp_path: Path) -> None:
    """The cache changes nothing: the double's own arithmetic, on random weights."""
    convert(random_checkpoint(TINY), tmp_path)
    whisper = NumpyWhisper(tmp_path, exact_gelu=True)
    rng = np.random.default_rng(2)
    (encoded,) = whisper.encode([rng.standard_normal((20, 4), dtype=np.float32)])
    tokens = [7, 1, 12, 3]
    together = whisper.step(tokens, whisper.start(encoded))
    cache = whisper.start(encoded)
    apart = np.concatenate([whisper.step([token], cache) for token in tokens])
    assert (10, 8) == encoded.shape
    np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-4)


def test_both_forms_of_gelu() -> None:
    """TensorRT-LLM's differs from Whisper's own by less than 0.0005 anywhere."""
    x = np.linspace(-8, 8, 4001, dtype=np.float32)
    difference = np.abs(gelu_tanh(x) - gelu_exact(x)).max()
    assert 1e-4 < difference < 5e-4
    assert gelu_exact(np.float32([1.0]))[0] == pytest.approx(0.8413447, abs=1e-6)
