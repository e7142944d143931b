"""The weights as OpenVINO GenAI loads them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faster_whisper.audio import decode_audio

from ops.accuracy.peer import PeerOptions
from ops.bench.peer_worker import OpenVINOGenAI

pytest.importorskip("openvino_genai", reason="has no wheel for this processor")

AUDIO = Path(__file__).parents[1] / "audio"


@pytest.fixture(scope="module", params=[1, 5])
def genai(
    request: pytest.FixtureRequest, weights_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """The peer with its weights made anew, greedy and with beams."""
    options = PeerOptions(
        model_dir=weights_dir / "base",
        cache_dir=tmp_path_factory.mktemp("openvino"),
        beam_size=request.param,
    )
    return SimpleNamespace(run=OpenVINOGenAI(options).load())


@pytest.mark.parametrize(
    ("clip", "language", "expected"),
    [
        ("en-river", "en", "After three weeks of rain, the sun came out, and the children ran"),
        ("pt-chuva", "pt", "a chuva parou e as crianças correram"),
    ],
)
def test_genai_reads_the_same_weights(genai: Any, clip: str, language: str, expected: str) -> None:
    """One token after the other, and several beams at a time, with text as UTF-8."""
    samples = decode_audio(str(AUDIO / f"{clip}.ogg"), sampling_rate=16_000)
    assert expected in genai.run(samples, language).text


def test_genai_finds_its_way_through_a_long_recording(genai: Any) -> None:
    """Windows follow timestamps, whose tokens are in no text."""
    samples = decode_audio(str(AUDIO / "en-long.ogg"), sampling_rate=16_000)
    text = genai.run(samples, "en").text
    assert "The old library stands at the end of the street" in text
    assert "is never really empty" in text
    assert "<|" not in text
