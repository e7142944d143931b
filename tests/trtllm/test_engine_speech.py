"""The TensorRT-LLM engine on its double with the real weights, against CTranslate2 in float32.

Two short clips, to be quick; `tests/oracle/test_same_server.py` has all of them, on whole servers.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_folder import make_folder, open_double
from executor_double import Watch, whisper_of
from numpy_aligner import NumpyAligner

from engine_build import checkpoint
from engine_build.golden import GoldenWindow, read_golden
from server.decoding.prompt import build_prompt
from server.decoding.tokenizer import Tokenizer
from server.engines import ctranslate2
from server.engines.base import Engine
from server.types import AlignmentRequest, GenerationOptions, GenerationRequest

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

TABLE = Path(__file__).parents[1] / "audio" / "manifest.tsv"
CLIPS = ("en-river.ogg", "pt-chuva.ogg")


@pytest.fixture(scope="module")
def tokenizer(weights_dir: Path) -> Tokenizer:
    """Of the real weights."""
    return Tokenizer.load(weights_dir / "base" / "tokenizer.json")


@pytest.fixture(scope="module")
def clips() -> list[GoldenWindow]:
    """One in English, one in Portuguese."""
    return [clip for clip in read_golden(TABLE, 80) if clip.name in CLIPS]


@pytest.fixture(scope="module")
def watch() -> Watch:
    """What the double has done."""
    return Watch()


@pytest.fixture(scope="module")
def engine(
    weights_dir: Path, tokenizer: Tokenizer, watch: Watch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """Whisper base, converted, with its alignment heads."""
    folder = tmp_path_factory.mktemp("engine")
    manifest = make_folder(folder, checkpoint.read(weights_dir / "base"))
    heads = json.loads((weights_dir / "base" / "config.json").read_text())["alignment_heads"]
    aligner = NumpyAligner(whisper_of(folder), tokenizer, heads)
    opened = open_double(folder, manifest, tokenizer, watch=watch, aligner=aligner)
    yield opened
    opened.close(5)


@pytest.fixture(scope="module")
def trusted(weights_dir: Path) -> Iterator[Engine]:
    """The same weights on the CPU engine, in float32."""
    opened = ctranslate2.load(
        "base", weights_dir / "base", compute_type="float32", workers=1, threads=2,
        max_batch_size=4, encoder="ctranslate2",
    )  # fmt: skip
    yield opened
    opened.close(5)


def test_windows_in_flight_together_are_heard_as_alone_on_the_cpu(
    engine: Engine,
    trusted: Engine,
    tokenizer: Tokenizer,
    clips: list[GoldenWindow],
    watch: Watch,
) -> None:
    """Every token, with timestamps and without, nearly the same certainty and silence."""
    options = GenerationOptions(beam_size=1, suppress_tokens=tokenizer.suppress_tokens)
    requests = [
        GenerationRequest(
            number,
            build_prompt(tokenizer, clip.language, "transcribe", without_timestamps=plain),
            options,
            clip.features,
        )
        for number, (clip, plain) in enumerate((clip, p) for clip in clips for p in (False, True))
    ]
    futures = [engine.generate(request) for request in requests]
    for request, future in zip(requests, futures, strict=True):
        expected, found = trusted.generate(request).result(120), future.result(120)
        assert expected.hypotheses[0].tokens == found.hypotheses[0].tokens
        assert expected.hypotheses[0].avg_logprob == pytest.approx(
            found.hypotheses[0].avg_logprob, abs=0.003
        )
        assert expected.no_speech_prob == pytest.approx(found.no_speech_prob, abs=0.01)
    assert 4 == max(len(batch) for batch in watch.batches)


def test_languages_and_words_are_those_of_the_cpu_engine(
    engine: Engine, trusted: Engine, tokenizer: Tokenizer, clips: list[GoldenWindow]
) -> None:
    """Probabilities to a hundredth; each word's place to two frames of 20 ms."""
    for clip in clips:
        asked = GenerationRequest(1, (), GenerationOptions(), clip.features)
        expected, found = (each.detect_language(asked).result(120) for each in (trusted, engine))
        assert clip.language == next(iter(found.language_probs))
        for code, probability in expected.language_probs.items():
            assert probability == pytest.approx(found.language_probs[code], abs=0.01)
        tokens = tokenizer.encode(f" {clip.text}")
        sot = tokenizer.sot_sequence(clip.language, "transcribe")
        words = AlignmentRequest(1, sot, tokens, 400, clip.features)
        expected_path, found_path = (each.align(words).result(120) for each in (trusted, engine))
        starts = [{}, {}]
        for place, alignment in zip(starts, (expected_path, found_path), strict=True):
            for token, frame in alignment.path:
                place.setdefault(token, frame)
        assert starts[0].keys() == starts[1].keys()
        assert all(abs(starts[0][token] - frame) <= 2 for token, frame in starts[1].items())
        assert expected_path.text_token_probs == pytest.approx(
            found_path.text_token_probs, abs=0.02
        )
