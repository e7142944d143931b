"""`ops engines rebuild` for a GPU, as far as it goes without one: what is a double says so."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from engine_folder import CARD, PASSED, VERSIONS, make_folder, open_double

from engine_build import checkpoint
from engine_build import manifest as writing
from engine_build.errors import BuildError, GateError
from ops.__main__ import main
from ops.engines import rebuild as story
from ops.engines.builds import Builds
from ops.engines.rebuild import Order, rebuild
from ops.engines.verify import described, problem
from server.decoding.tokenizer import Tokenizer
from server.engines import manifest, tensorrt_llm
from server.engines.choice import choose
from server.engines.in_flight import InFlightEngine
from server.engines.manifest import GateResult

pytestmark = pytest.mark.model

ROOT = Path(__file__).parents[2]


@pytest.fixture
def gpu_machine(
    program: Callable[[str, str], Path],
    trtllm_build: Callable[[], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A machine with an L40 and TensorRT-LLM, as far as programs and versions go."""
    program("nvidia-smi", "#!/bin/sh\necho 'NVIDIA L40, 8.9, 580.82.07, 46068'\n")
    trtllm_build()
    known = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: VERSIONS.get(name) or known(name))


@pytest.fixture
def order(weights_dir: Path, tmp_path: Path) -> Order:
    """An engine of the real base, judged by one clip."""
    clips = tmp_path / "clips.tsv"
    (tmp_path / "pt-chuva.ogg").symlink_to(ROOT / "tests/audio/pt-chuva.ogg")
    clips.write_text(
        "file\tlanguage\ttext\npt-chuva.ogg\tpt\t"
        "Depois de três semanas, a chuva parou e as crianças correram até o rio.\n"
    )
    return Order("base", "tensorrt_llm", weights_dir / "base", clips)


def run(order: Order, engines: Path, **options: Any) -> story.Rebuilt:
    values = {"keep": 3, "activate": True, "say": lambda _: None} | options
    return rebuild(order, engines, now=lambda: datetime(2026, 11, 25, 12, 0, tzinfo=UTC), **values)


@pytest.mark.usefixtures("gpu_machine")
def test_a_rebuild_is_what_a_server_with_that_card_takes(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the card that is here; only compiler and gate are doubles."""
    monkeypatch.setattr(story, "gpu_gate", lambda *_: lambda _: PASSED)
    done = run(order, tmp_path / "engines")
    assert ("20261125T120000Z-l40", PASSED, True) == (done.build, done.gate, done.activated)
    chosen = choose("base", "auto", engines=tmp_path / "engines", weights=order.weights)
    assert ("tensorrt_llm", done.build) == (chosen.engine, chosen.build)
    assert Tokenizer.load(chosen.folder / "tokenizer.json").sot

    builds = Builds(tmp_path / "engines", "tensorrt_llm", "base")
    assert None is problem(builds, done.build)
    row = described(builds, done.build)
    assert ("NVIDIA L40, 32 windows", True) == (row["kind"], row["active"])


@pytest.mark.usefixtures("gpu_machine")
def test_a_gate_that_is_not_passed_leaves_what_serves(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old engine stays active, nothing of the new one stays."""

    def fails(_: Path) -> GateResult:
        raise GateError("word error rate 40 %")

    monkeypatch.setattr(story, "gpu_gate", lambda *_: lambda _: PASSED)
    old = run(order, tmp_path / "engines").build
    monkeypatch.setattr(story, "gpu_gate", lambda *_: fails)
    with pytest.raises(GateError, match="40 %"):
        rebuild(
            order, tmp_path / "engines", keep=3, activate=True, say=lambda _: None,
            now=lambda: datetime(2026, 11, 26, tzinfo=UTC),
        )  # fmt: skip
    builds = Builds(tmp_path / "engines", "tensorrt_llm", "base")
    assert (old, [old]) == (builds.active(), builds.names())
    assert {old, "current", "activated.json"} == {path.name for path in builds.folder.iterdir()}


def test_without_a_card_nothing_is_begun(
    order: Order, tmp_path: Path, program: Callable[[str, str], Path]
) -> None:
    """No folder of a build, whatever card is named."""
    program("other", "#!/bin/sh\n")
    with pytest.raises(BuildError, match="no NVIDIA driver"):
        run(order, tmp_path / "engines")
    assert [] == list((tmp_path / "engines").rglob("*"))


@pytest.fixture
def active(order: Order, tmp_path: Path) -> Path:
    """The active engine of base, on whose double real weights compute."""
    folder = tmp_path / "engines" / "tensorrt_llm" / "base" / "20261125T120000Z-l40"
    folder.mkdir(parents=True)
    make_folder(folder, checkpoint.read(order.weights))
    writing.protect(folder)
    (folder.parent / "current").symlink_to(folder.name)
    return folder


def verify_again(order: Order, engines: Path, status: int) -> dict[str, Any]:
    """`ops engines verify --gate`; the only build's row."""
    environ = {
        "SUSSURRO_ENGINES_DIR": str(engines),
        "SUSSURRO_WEIGHTS_DIR": str(order.weights.parent),
    }
    arguments = ["engines", "verify", "base", "--gate", "--clips", str(order.clips), "--json"]
    done = CliRunner().invoke(main, arguments, env=environ)
    assert status == done.exit_code, done.output
    (row,) = json.loads(done.stdout)
    found: dict[str, Any] = row
    return found


@pytest.mark.usefixtures("gpu_machine")
def test_an_engine_that_computes_as_tensorrt_llm_does_passes_the_gate(
    order: Order, active: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged again by the command, with real weights and speech: the server's engine on its double.

    openai-whisper is not installed here, so the reference is CTranslate2 in float32.
    """

    def load(_: str, path: Path, tokenizer: Tokenizer, *, gated: bool) -> InFlightEngine:
        assert (active, False) == (path, gated)
        return open_double(path, manifest.verify(path, CARD), tokenizer)

    monkeypatch.setattr(tensorrt_llm, "load", load)
    row = verify_again(order, tmp_path / "engines", 0)
    assert ("tensorrt_llm", active.name, None) == (row["engine"], row["build"], row["problem"])
    result = row["gate"]
    assert ("ctranslate2", 1) == (result["reference"], result["clips"])
    assert result["reference_wer"] == result["wer"]
    assert 0 < result["max_logprob_difference"] < 0.005
    assert result["max_company_difference"] < 0.0001


@pytest.mark.usefixtures("active")
def test_an_engine_is_judged_on_its_gpu_or_not_at_all(
    order: Order, tmp_path: Path, program: Callable[[str, str], Path]
) -> None:
    """Without the card the command says so; it does not pass what it cannot ask."""
    program("other", "#!/bin/sh\n")
    row = verify_again(order, tmp_path / "engines", 1)
    assert None is row["gate"]
    assert (
        "it cannot be judged here: this machine has no NVIDIA driver (no nvidia-smi)"
        == row["problem"]
    )
