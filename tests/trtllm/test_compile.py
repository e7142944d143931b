import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from random_whisper import TINY, random_checkpoint

from engine_build import compile as step
from engine_build import recordings
from engine_build.convert import convert
from engine_build.dims import SIZES
from engine_build.errors import CompileError
from engine_build.gpus import GPUS
from engine_build.plan import make_plan

PLAN = make_plan("tiny", GPUS["l40"], TINY)


@pytest.mark.parametrize("model", SIZES)
@pytest.mark.parametrize("gpu", GPUS)
def test_every_flag_is_accepted(gpu: str, model: str) -> None:
    """By the recorded command line of TensorRT-LLM 1.2.1, for all models on all cards."""
    plan = make_plan(model, GPUS[gpu], SIZES[model])
    for command in step.commands(plan, Path("checkpoint"), Path("out")).values():
        assert "trtllm-build" == command[0]
        assert [] == recordings.problems_of(command[1:])


def test_the_flags_of_large_v3_on_an_l40() -> None:
    """Those that matter: packed, no beams, one window to encode, room for prompts."""
    plan = make_plan("large-v3", GPUS["l40"], SIZES["large-v3"])
    encoder, decoder = (dict(zip(f[::2], f[1::2], strict=True)) for f in step.flags(plan).values())
    for part in (encoder, decoder):
        assert "enable" == part["--remove_input_padding"]
        assert "1" == part["--max_beam_width"]
    assert ("1", "3000") == (encoder["--max_batch_size"], encoder["--max_seq_len"])
    assert ("32", "448") == (decoder["--max_batch_size"], decoder["--max_seq_len"])
    assert ("3000", "float32") == (decoder["--max_encoder_input_len"], decoder["--logits_dtype"])


def test_both_engines_are_compiled(tmp_path: Path, trtllm_build: Callable[[], Path]) -> None:
    """Each with its configuration and its whole log; every line is told."""
    trtllm_build()
    convert(random_checkpoint(TINY), tmp_path / "work" / "checkpoint")
    out, lines = tmp_path / "work" / "engine", []
    step.compile_engines(PLAN, tmp_path / "work" / "checkpoint", out, lines.append)
    assert b"engine of encoder" == (out / "encoder" / "rank0.engine").read_bytes()
    assert b"engine of decoder" == (out / "decoder" / "rank0.engine").read_bytes()
    assert "building all engines: encoder" in (out / "encoder.log").read_text()
    assert any("building all engines: decoder" in line for line in lines)


def test_a_failing_run_is_shown(tmp_path: Path, program: Callable[[str, str], Path]) -> None:
    """Its status and its last lines."""
    program("trtllm-build", "#!/bin/sh\nseq 1 40\necho out of memory >&2\nexit 3\n")
    with pytest.raises(CompileError, match=r"failed with 3.*\n  30\n(.*\n)*  out of memory") as e:
        step.compile_engines(PLAN, tmp_path / "c", tmp_path / "work" / "e", lambda _: None)
    assert "\n  20\n" not in str(e.value)


def test_a_missing_program_is_named(tmp_path: Path, program: Callable[[str, str], Path]) -> None:
    """And where it comes from."""
    program("other", "#!/bin/sh\n")
    with pytest.raises(CompileError, match="trtllm-build is not here; it comes with TensorRT-LLM"):
        step.compile_engines(PLAN, tmp_path / "c", tmp_path / "e", lambda _: None)


@pytest.mark.parametrize(
    ("part", "path", "value"),
    [
        ("encoder", "version", "1.3.0"),
        ("encoder", "pretrained_config.n_mels", 80),
        ("encoder", "build_config.max_batch_size", 8),
        ("encoder", "build_config.plugin_config.remove_input_padding", False),
        ("decoder", "pretrained_config.logits_dtype", "float16"),
        ("decoder", "build_config.max_beam_width", 4),
        ("decoder", "build_config.max_seq_len", 114),
        ("decoder", "build_config.max_encoder_input_len", 1500),
        ("decoder", "build_config.kv_cache_type", "CONTINUOUS"),
        ("decoder", "build_config.plugin_config.paged_kv_cache", None),
        ("decoder", "build_config", None),
    ],
)
def test_an_engine_of_another_kind_is_refused(
    tmp_path: Path, trtllm_build: Callable[[], Path], part: str, path: str, value: object
) -> None:
    """The field that differs is named, with both values."""
    trtllm_build()
    work = tmp_path / "work"
    convert(random_checkpoint(TINY), work / "checkpoint")
    step.compile_engines(PLAN, work / "checkpoint", work / "engine", lambda _: None)
    file = work / "engine" / part / "config.json"
    config = json.loads(file.read_text())
    place: Any = config
    *folders, last = path.split(".")
    for folder in folders:
        place = place[folder]
    place[last] = value
    file.write_text(json.dumps(config))
    with pytest.raises(CompileError, match=f"the {part} was built with {path}"):
        step.check_built(PLAN, part, work / "engine" / part)


def test_missing_files_are_named(tmp_path: Path) -> None:
    """The engine, and its configuration."""
    with pytest.raises(CompileError, match=r"no encoder/rank0\.engine"):
        step.check_built(PLAN, "encoder", tmp_path)
    (tmp_path / "rank0.engine").touch()
    with pytest.raises(CompileError, match=r"no readable encoder/config\.json"):
        step.check_built(PLAN, "encoder", tmp_path)
