import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_folder import make_folder, open_double, small_checkpoint
from numpy_aligner import NumpyAligner
from numpy_whisper import NumpyWhisper

from server.decoding.tokenizer import Tokenizer
from server.engines import ctranslate2
from server.engines.base import Engine
from server.engines.fake import FakeEngine, byte_tokenizer
from server.types import Hypothesis

WEIGHTS = Path(
    os.environ.get("SUSSURRO_TEST_WEIGHTS_DIR", "~/.cache/sussurro/weights")
).expanduser()


@pytest.fixture(
    scope="session",
    params=[
        "fake",
        pytest.param("ctranslate2", marks=pytest.mark.model),
        pytest.param("openvino", marks=pytest.mark.model),
        pytest.param("tensorrt_llm", marks=pytest.mark.model),
    ],
)
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Engine, Tokenizer]]:
    """Each engine with its vocabulary; TensorRT-LLM's runs on its double, with random weights."""
    engine: Engine
    if request.param == "fake":
        tokenizer = byte_tokenizer()
        tokens = tokenizer.encode("oi")  # a space alone is a suppressed token here
        engine = FakeEngine(lambda _: Hypothesis(tokens, -0.4))
    elif request.param == "tensorrt_llm":
        tokenizer = Tokenizer.load(WEIGHTS / "base" / "tokenizer.json")
        folder = tmp_path_factory.mktemp("engine")
        manifest = make_folder(folder, small_checkpoint())
        aligner = NumpyAligner(NumpyWhisper(folder), tokenizer, [(0, 0), (0, 1)])
        engine = open_double(folder, manifest, tokenizer, aligner=aligner)
    else:
        pytest.importorskip(request.param, reason="has no wheel for this processor")
        tokenizer = Tokenizer.load(WEIGHTS / "base" / "tokenizer.json")
        engine = ctranslate2.load(
            "base",
            WEIGHTS / "base",
            compute_type="int8",
            workers=2,
            threads=1,
            max_batch_size=4,
            encoder=request.param,
        )
    yield engine, tokenizer
    engine.close(5)
