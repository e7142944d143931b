import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from random_whisper import TINY, random_checkpoint, save_pt

from engine_build import safetensors
from engine_build.__main__ import main
from engine_build.build import Source, build, convert_only
from engine_build.errors import BuildError, CompileError, GateError, NoGpu, WeightsError
from engine_build.gpus import GPUS
from engine_build.plan import Plan, make_plan
from server.engines import manifest
from server.engines.manifest import GateResult, Running

PLAN = make_plan("tiny", GPUS["l40"], TINY)
VERSIONS = {"tensorrt_llm": "1.2.1", "tensorrt": "10.14.1.48.post1"}
PASSED = GateResult(6, 0.02, 0.02, 0.004, 0.0)


def quiet(_: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Tiny weights of one's own, with a vocabulary."""
    path = save_pt(tmp_path / "tiny.pt", random_checkpoint(TINY))
    vocabulary = tmp_path / "vocabulary.json"
    vocabulary.write_text("{}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Source(tmp_path / "cache", path, digest, vocabulary)


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


@pytest.mark.usefixtures("gpu_machine")
def test_a_build_from_weights_to_a_published_engine(tmp_path: Path, source: Source) -> None:
    """What a server on that machine loads; nothing else is left behind."""
    out = tmp_path / "engines" / "tiny"
    seen: list[Path] = []

    def gate(folder: Path) -> GateResult:
        seen.append(folder)
        assert (folder / "decoder" / "rank0.engine").is_file()
        assert not out.exists()
        return PASSED

    lines: list[str] = []
    written = build(PLAN, source, out, lines.append, gate)
    found = manifest.verify(out, Running("NVIDIA L40", "8.9", VERSIONS))

    assert written == found
    assert (source.pinned, PASSED) == (found.weights_sha256, found.gate)
    assert {"encoder/rank0.engine", "decoder/rank0.engine", "tokenizer.json"} < set(found.files)
    assert [out] == list(out.parent.iterdir())
    assert 1 == len(seen)
    assert "passed the gate" in lines


@pytest.mark.usefixtures("gpu_machine")
def test_an_engine_without_a_gate_says_so(tmp_path: Path, source: Source) -> None:
    """It is built, and no server loads it."""
    lines: list[str] = []
    written = build(PLAN, source, tmp_path / "out", lines.append)
    assert written.gate is None
    assert any("not verified" in line for line in lines)


@pytest.mark.usefixtures("gpu_machine")
def test_a_failing_gate_publishes_nothing(tmp_path: Path, source: Source) -> None:
    """Not a file of it stays."""

    def gate(_: Path) -> GateResult:
        raise GateError("word error rate 40 %")

    out = tmp_path / "engines" / "tiny"
    with pytest.raises(GateError, match="40 %"):
        build(PLAN, source, out, quiet, gate)
    assert [] == list(out.parent.iterdir())


@pytest.mark.usefixtures("gpu_machine")
def test_a_failing_compiler_publishes_nothing(
    tmp_path: Path, source: Source, program: Callable[[str, str], Path]
) -> None:
    """Nor does it leave its half-done work."""
    program("trtllm-build", "#!/bin/sh\nexit 1\n")
    out = tmp_path / "engines" / "tiny"
    with pytest.raises(CompileError):
        build(PLAN, source, out, quiet)
    assert [] == list(out.parent.iterdir())


@pytest.mark.usefixtures("gpu_machine")
def test_what_is_there_is_never_touched(tmp_path: Path, source: Source) -> None:
    """An engine that serves cannot be overwritten."""
    out = tmp_path / "out"
    build(PLAN, source, out, quiet)
    before = (out / "manifest.json").read_bytes()
    with pytest.raises(BuildError, match="is there already"):
        build(PLAN, source, out, quiet)
    assert before == (out / "manifest.json").read_bytes()


@pytest.mark.usefixtures("gpu_machine")
def test_other_weights_than_planned_are_refused(tmp_path: Path, source: Source) -> None:
    """A plan for one size does not fit another."""
    plan = Plan("tiny", PLAN.gpu, replace(TINY, n_mels=5), 1)
    with pytest.raises(BuildError, match="is not tiny: its dimensions are"):
        build(plan, source, tmp_path / "out", quiet)


def test_without_a_gpu_nothing_is_begun(
    tmp_path: Path, source: Source, program: Callable[[str, str], Path]
) -> None:
    """Not even a download; converting works all the same."""
    program("other", "#!/bin/sh\n")
    unread = Source(tmp_path / "cache")
    with pytest.raises(NoGpu, match="can only be compiled on one"):
        build(PLAN, unread, tmp_path / "out", quiet)
    assert not (tmp_path / "cache").exists()
    convert_only(PLAN, source, tmp_path / "out", quiet)
    stored = safetensors.read(tmp_path / "out" / "encoder" / "rank0.safetensors")
    assert (8, 4, 3, 1) == stored["transformer.conv1.weight"].shape


def test_weights_that_nobody_vouches_for_are_not_converted(tmp_path: Path, source: Source) -> None:
    """And no folder appears."""
    with pytest.raises(WeightsError, match="the official one of tiny"):
        convert_only(PLAN, replace(source, pinned=None), tmp_path / "out", quiet)
    assert not (tmp_path / "out").exists()


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_explains_and_shows(tmp_path: Path) -> None:
    """Both without a GPU, and nothing is made."""
    done = command("large-v3", "--gpu", "l40", "--out", tmp_path / "x", "--explain", "--dry-run")
    assert 0 == done.exit_code
    assert "cross-attention cache" in done.output
    lines = [line for line in done.output.splitlines() if line.startswith("trtllm-build ")]
    assert ["encoder", "decoder"] == [line.split()[4].rpartition("/")[2] for line in lines]
    assert [] == list(tmp_path.iterdir())


def test_the_command_refuses_with_a_word(
    tmp_path: Path, program: Callable[[str, str], Path]
) -> None:
    """No GPU, no such model, no such card, too many windows: each its own line."""
    program("other", "#!/bin/sh\n")
    out = ("--out", tmp_path / "x")
    for arguments, status, reason in (
        (("base", *out), 1, "Error: this machine has no NVIDIA driver"),
        (("huge", *out), 1, "Error: no model 'huge'"),
        (("base", "--gpu", "gtx", *out), 2, "'gtx' is not one of"),
        (("large-v3", "--windows", "256", *out), 1, "at most 112 fit"),
        (("base",), 2, "Missing option '--out'"),
    ):
        done = command(*arguments)
        assert (status, True) == (done.exit_code, reason in done.output), done.output


@pytest.mark.model
def test_the_command_converts_real_weights(weights_dir: Path, tmp_path: Path) -> None:
    """From the folder that the CPU engine serves, if its hash is vouched for."""
    model, out = weights_dir / "base", tmp_path / "base"
    given = ("base", "--weights", model, "--out", out, "--convert-only")
    refused = command(*given)
    assert (1, True) == (refused.exit_code, "say --sha256" in refused.output)

    digest = hashlib.sha256((model / "model.bin").read_bytes()).hexdigest()
    done = command(*given, "--sha256", digest)
    assert 0 == done.exit_code, done.output
    config = json.loads((out / "decoder" / "config.json").read_text())
    assert ("DecoderModel", 6, 51865) == (
        config["architecture"], config["num_hidden_layers"], config["vocab_size"],
    )  # fmt: skip
