import os
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    ],
)
def loaded(request: pytest.FixtureRequest) -> Iterator[tuple[Engine, Tokenizer]]:
    """Each engine with its vocabulary."""
    engine: Engine
    if request.param == "fake":
        tokenizer = byte_tokenizer()
        tokens = tokenizer.encode("oi")  # a space alone is a suppressed token here
        engine = FakeEngine(lambda _: Hypothesis(tokens, -0.4))
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
