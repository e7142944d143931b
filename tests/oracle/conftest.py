"""openai-whisper itself and our engine, both in float32 on the very same weights of `base`."""

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest
import torch
import whisper
from faster_whisper.audio import decode_audio
from whisper.decoding import DecodingResult

from ops.accuracy import checkpoint
from server.audio.features import log_mel
from server.decoding.tokenizer import Tokenizer
from server.engines import ctranslate2
from server.engines.ctranslate2 import CTranslate2Engine
from server.types import SAMPLE_RATE, LogMel, Samples

AUDIO = Path(__file__).parents[1] / "audio"
SHORT_CLIPS = ("en-kitchen", "en-meeting", "en-river", "pt-chuva", "pt-cozinha", "pt-reuniao")
LONG_CLIPS = ("en-long", "pt-long")


@pytest.fixture(scope="session")
def peer(weights_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`whisper.model.Whisper` with the alignment heads that the weights come with."""
    path = tmp_path_factory.mktemp("checkpoint") / "base.pt"
    checkpoint.convert(weights_dir / "base", path)
    # On two cores that others use too, two threads of torch wait for each other most of the time;
    # numba's, which openai-whisper aligns words with, would bring them back.
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    model = whisper.load_model(str(path), device="cpu")
    path.unlink()
    heads = torch.zeros(model.dims.n_text_layer, model.dims.n_text_head, dtype=torch.bool)
    for layer, head in checkpoint.alignment_heads(weights_dir / "base"):
        heads[layer, head] = True
    model.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)
    return model


@pytest.fixture(scope="session")
def engine(weights_dir: Path) -> Iterator[CTranslate2Engine]:
    """Our engine without quantisation: what differs then is a rule, not rounding."""
    loaded = ctranslate2.load(
        "base",
        weights_dir / "base",
        compute_type="float32",
        workers=1,
        threads=1,
        max_batch_size=1,
        encoder="ctranslate2",
    )
    yield loaded
    loaded.close(5)


@pytest.fixture(scope="session")
def tokenizer(weights_dir: Path) -> Tokenizer:
    """Our reading of the vocabulary that the weights come with."""
    return Tokenizer.load(weights_dir / "base" / "tokenizer.json")


@pytest.fixture(scope="session")
def peer_tokenizer() -> Callable[..., Any]:
    """openai-whisper's tokenizer for the multilingual models before large-v3."""
    return lambda **options: whisper.tokenizer.get_tokenizer(True, num_languages=99, **options)


@pytest.fixture(scope="session", autouse=True)
def _vocabulary_file() -> None:
    """openai-whisper reads its vocabulary once, and leaves it to Python to close the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        whisper.tokenizer.get_encoding(name="multilingual", num_languages=99)


@pytest.fixture(scope="session")
def clips() -> Mapping[str, Samples]:
    """Spoken clips by name, float32 at 16 kHz."""
    return {
        name: decode_audio(str(AUDIO / f"{name}.ogg"), sampling_rate=SAMPLE_RATE)
        for name in SHORT_CLIPS + LONG_CLIPS
    }


@pytest.fixture(scope="session")
def windows(clips: Mapping[str, Samples]) -> Mapping[str, LogMel]:
    """Features by name: the short clips, 28 s of each long one, and what is no speech."""
    random = np.random.default_rng(5)
    sounds = {name: clips[name] for name in SHORT_CLIPS}
    sounds |= {name: clips[name][: 28 * SAMPLE_RATE] for name in LONG_CLIPS}
    sounds["noise"] = random.normal(0, 0.05, 5 * SAMPLE_RATE).astype(np.float32)
    sounds["silence"] = np.zeros(5 * SAMPLE_RATE, dtype=np.float32)
    return {name: log_mel(samples, 80) for name, samples in sounds.items()}


@pytest.fixture(scope="session")
def encode(peer: Any, windows: Mapping[str, LogMel]) -> Callable[[str], Any]:
    """Their encoder's output of a window, computed once."""

    @cache
    def encoded(name: str) -> Any:
        with torch.no_grad():
            return peer.embed_audio(torch.from_numpy(windows[name])[None])[0]

    return encoded


@dataclass(frozen=True)
class Heard:
    """What `whisper.transcribe` returned, and the tokens of each window that it decoded."""

    segments: Sequence[Mapping[str, Any]]
    text: str
    decoded: Sequence[Sequence[int]]


@pytest.fixture(scope="session")
def heard(peer: Any, clips: Mapping[str, Samples]) -> Callable[[str], Heard]:
    """`whisper.transcribe` of a whole clip, greedy, each window with the text before it."""

    @cache
    def transcribe(name: str) -> Heard:
        decoded: list[list[int]] = []

        def decode(mel: Any, options: Any) -> DecodingResult:
            result = whisper.decode(peer, mel, options)
            decoded.append(result.tokens)
            return result

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(peer, "decode", decode)
            result = peer.transcribe(clips[name], language=name[:2], temperature=0.0, fp16=False)
        return Heard(result["segments"], result["text"], decoded)

    return transcribe


@pytest.fixture
def transcribe_by_heart(peer: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`whisper.transcribe` of so many frames, with a model that answers what the test says.

    Its rules for windows, fallback and segments are inside that one function. The answer is
    called with the index of the call; its features are left out, since nobody looks at them.
    """
    module = importlib.import_module("whisper.transcribe")
    monkeypatch.setattr(
        module,
        "log_mel_spectrogram",
        lambda samples, n_mels, padding: torch.zeros(n_mels, (len(samples) + padding) // 160),
    )

    def transcribe(
        n_frames: int, answer: Callable[[int], Mapping[str, Any]], **options: Any
    ) -> Any:
        calls: list[float] = []

        def decode(_: Any, asked: Any) -> DecodingResult:
            calls.append(asked.temperature)
            usual = {"avg_logprob": -0.1, "no_speech_prob": 0.0, "compression_ratio": 1.0}
            return DecodingResult(
                audio_features=torch.zeros(0),
                language="en",
                temperature=asked.temperature,
                **usual | answer(len(calls) - 1),
            )

        model = SimpleNamespace(
            decode=decode,
            dims=peer.dims,
            device=peer.device,
            is_multilingual=True,
            num_languages=99,
        )
        samples = np.zeros(160 * n_frames, dtype=np.float32)
        return module.transcribe(model, samples, language="en", fp16=False, verbose=None, **options)

    return transcribe
