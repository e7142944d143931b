import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
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
from engine_build.convert import convert
from engine_build.errors import BuildError, CompileError, GateError, NoGpu, WeightsError
from engine_build.gpus import GPUS
from engine_build.plan import Plan, make_plan
from server.engines import manifest
from server.engines.manifest import GateResult, Running
from server.errors import EngineError

ROOT = Path(__file__).parents[2]

PLAN = make_plan("tiny", GPUS["l40"], TINY)
VERSIONS = {"tensorrt_llm": "1.2.1", "tensorrt": "10.14.1.48.post1"}
PASSED = GateResult(6, 0.02, 0.02, 0.004, 0.0)


def quiet(_: str) -> None:
    """Progress that nobody reads."""


def passes(_: Path) -> GateResult:
    """A gate that lets all pass."""
    return PASSED


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
def test_the_gate_sees_an_engine_that_has_not_passed_it(tmp_path: Path, source: Source) -> None:
    """Its manifest says so: the gate can open it, and no server does."""

    def gate(folder: Path) -> GateResult:
        here = Running("NVIDIA L40", "8.9", VERSIONS)
        assert manifest.verify(folder, here, gated=False).gate is None
        with pytest.raises(EngineError, match="has not passed the gate"):
            manifest.verify(folder, here)
        return PASSED

    assert PASSED == build(PLAN, source, tmp_path / "out", quiet, gate).gate


@pytest.mark.usefixtures("gpu_machine")
def test_an_engine_without_a_vocabulary_is_not_built(tmp_path: Path, source: Source) -> None:
    """No server could use it, and no gate could read what it writes."""
    with pytest.raises(BuildError, match="needs the vocabulary of its weights: --tokenizer"):
        build(PLAN, replace(source, tokenizer=None), tmp_path / "out", quiet, passes)


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
def test_a_build_goes_on_after_its_last_finished_step(
    tmp_path: Path, source: Source, trtllm_build: Callable[[], Path]
) -> None:
    """A compiler that fails at the decoder costs neither the weights nor the encoder again."""
    real = trtllm_build()
    works = real.read_text()
    fails = '#!/bin/sh\ncase "$*" in *decoder*) exit 1;; esac\n'
    real.write_text(works.replace("#!/bin/sh\n", fails))
    out = tmp_path / "engines" / "tiny"
    with pytest.raises(CompileError, match="failed with 1"):
        build(PLAN, source, out, quiet, passes)
    assert not out.exists()

    real.write_text(works)
    lines: list[str] = []
    written = build(PLAN, source, out, lines.append, passes)
    assert "checkpoint: finished by an earlier run" in lines
    assert "the encoder was compiled by an earlier run" in lines
    assert written == manifest.verify(out, Running("NVIDIA L40", "8.9", VERSIONS))
    assert [out] == list(out.parent.iterdir())


@pytest.mark.usefixtures("gpu_machine")
def test_a_build_killed_at_its_very_end_is_resumed(
    tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Described and read-only already, it is judged again and published."""

    def die(_source: Path, _target: Path) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "engines" / "tiny"
    with monkeypatch.context() as patch:
        patch.setattr("engine_build.build.move", die)
        with pytest.raises(KeyboardInterrupt):
            build(PLAN, source, out, quiet, passes)
    assert not out.exists()
    written = build(PLAN, source, out, quiet, passes)
    assert written == manifest.verify(out, Running("NVIDIA L40", "8.9", VERSIONS))


@pytest.mark.usefixtures("gpu_machine")
def test_a_build_of_something_else_starts_anew(
    tmp_path: Path, source: Source, program: Callable[[str, str], Path]
) -> None:
    """Steps for other shapes are of no use, and are thrown away."""
    program("trtllm-build", "#!/bin/sh\nexit 1\n")
    out = tmp_path / "engines" / "tiny"
    lines: list[str] = []
    for plan in (PLAN, make_plan("tiny", GPUS["l40"], TINY, 8)):
        with pytest.raises(CompileError):
            build(plan, source, out, lines.append, passes)
    assert any("throwing away the unfinished build" in line for line in lines)
    assert "checkpoint: finished by an earlier run" not in lines
    assert 1 == len(list(out.parent.iterdir()))


@pytest.mark.usefixtures("gpu_machine")
def test_two_builds_do_not_meet(tmp_path: Path, source: Source) -> None:
    """They would time each other's kernels."""

    def gate(_: Path) -> GateResult:
        with pytest.raises(BuildError, match="another build works in"):
            build(PLAN, source, tmp_path / "other", quiet, passes)
        return PASSED

    build(PLAN, source, tmp_path / "out", quiet, gate)


def test_a_compiler_dies_with_its_build(
    tmp_path: Path, program: Callable[[str, str], Path]
) -> None:
    """Killed hard, a build leaves no compiler behind that keeps the GPU busy."""
    program("trtllm-build", f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 60\n")
    convert(random_checkpoint(TINY), tmp_path / "work" / "checkpoint")
    script = (
        "import sys; from pathlib import Path; from engine_build.compile import compile_engines\n"
        "from engine_build.dims import ModelDimensions; from engine_build.gpus import GPUS\n"
        "from engine_build.plan import Plan\n"
        f"dims = ModelDimensions(*{list(TINY.as_dict().values())})\n"
        "work = Path(sys.argv[1])\n"
        "plan = Plan('tiny', GPUS['l40'], dims, 1)\n"
        "compile_engines(plan, work / 'checkpoint', work / 'engine', print)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "work")],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL,
    ) as parent:  # fmt: skip
        compiler = int(_wait_for((tmp_path / "pid").read_text))
        parent.kill()
    _wait_for(lambda: "gone" if _state(compiler) in "ZX" else "")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "X"


def _wait_for(read: Callable[[], str]) -> str:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):
            if found := read().strip():
                return found
        time.sleep(0.02)
    pytest.fail("it did not happen")


@pytest.mark.usefixtures("gpu_machine")
def test_what_is_there_is_never_touched(tmp_path: Path, source: Source) -> None:
    """An engine that serves cannot be overwritten."""
    out = tmp_path / "out"
    build(PLAN, source, out, quiet, passes)
    before = (out / "manifest.json").read_bytes()
    with pytest.raises(BuildError, match="is there already"):
        build(PLAN, source, out, quiet, passes)
    assert before == (out / "manifest.json").read_bytes()


@pytest.mark.usefixtures("gpu_machine")
def test_other_weights_than_planned_are_refused(tmp_path: Path, source: Source) -> None:
    """A plan for one size does not fit another."""
    plan = Plan("tiny", PLAN.gpu, replace(TINY, n_mels=5), 1)
    with pytest.raises(BuildError, match="is not tiny: its dimensions are"):
        build(plan, source, tmp_path / "out", quiet, passes)


def test_without_a_gpu_nothing_is_begun(
    tmp_path: Path, source: Source, program: Callable[[str, str], Path]
) -> None:
    """Not even a download; converting works all the same."""
    program("other", "#!/bin/sh\n")
    unread = Source(tmp_path / "cache")
    with pytest.raises(NoGpu, match="can only be compiled on one"):
        build(PLAN, unread, tmp_path / "out", quiet, passes)
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
