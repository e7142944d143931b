"""The gate of engines for GPUs where openai-whisper is installed: it is what they are judged by."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from engine_folder import make_folder, open_double

from engine_build import checkpoint
from engine_build.gpu_gate import gpu_gate
from engine_build.reference import best, refer
from server.decoding.tokenizer import Tokenizer
from server.engines import tensorrt_llm
from server.engines.in_flight import InFlightEngine

AUDIO = Path(__file__).parents[1] / "audio"
SAID: Mapping[str, str] = {
    "en-river": (
        "After three weeks of rain, the sun came out, and the children ran down to the river."
    ),
    "pt-chuva": "Depois de três semanas, a chuva parou e as crianças correram até o rio.",
}


def table(folder: Path, *names: str) -> Path:
    """These clips, as the gate reads them."""
    rows = ["file\tlanguage\ttext"]
    for name in names:
        (folder / f"{name}.ogg").symlink_to(AUDIO / f"{name}.ogg")
        rows.append(f"{name}.ogg\t{name[:2]}\t{SAID[name]}")
    (folder / "clips.tsv").write_text("\n".join(rows) + "\n")
    return folder / "clips.tsv"


def test_both_references_hear_the_same(weights_dir: Path, tmp_path: Path) -> None:
    """openai-whisper and CTranslate2 in float32: token by token, and as sure of it to 0.001."""
    clips = table(tmp_path, *SAID)
    theirs, ours = (
        refer(weights_dir / "base", clips, lambda _: None, by)
        for by in ("openai-whisper", "ctranslate2")
    )
    assert set(theirs.heard) == set(ours.heard) == {f"{name}.ogg" for name in SAID}
    for name, heard in theirs.heard.items():
        assert (ours.heard[name].tokens, ours.heard[name].text) == (heard.tokens, heard.text)
        assert heard.avg_logprob == pytest.approx(ours.heard[name].avg_logprob, abs=0.001)


@pytest.mark.timeout(300)
def test_an_engine_for_gpus_is_judged_by_openai_whisper(
    weights_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the double, whose GELU is TensorRT-LLM's: passed, and the result says by what."""
    assert "openai-whisper" == best()
    clips = table(tmp_path, "pt-chuva")
    folder, told = tmp_path / "engine", []
    folder.mkdir()
    shutil.copyfile(weights_dir / "base" / "tokenizer.json", folder / "tokenizer.json")
    made = make_folder(folder, checkpoint.read(weights_dir / "base"))

    def load(_: str, path: Path, tokenizer: Tokenizer, **options: object) -> InFlightEngine:
        assert not options["gated"]
        return open_double(path, made, tokenizer)

    monkeypatch.setattr(tensorrt_llm, "load", load)
    weights = weights_dir / "base"
    result = gpu_gate("base", weights, weights, clips, told.append)(folder)
    assert ("openai-whisper", 1) == (result.reference, result.clips)
    assert result.reference_wer == result.wer
    assert 0 < result.max_logprob_difference < 0.005
    assert "the reference: openai-whisper in float32 on the same weights" in told
