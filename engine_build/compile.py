"""Two runs of trtllm-build, and a look at what came out of them.

Knows: which flags make encoder and decoder as planned, and the fields of a built config.json.
Must not know: weights, or whether the engine transcribes well.
"""

import ctypes
import json
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine_build import recordings
from engine_build.convert import DTYPE, LOGITS_DTYPE
from engine_build.errors import CompileError
from engine_build.plan import DECODER_TOKENS, TOKENS_PER_BLOCK, Plan
from engine_build.work import move, remove

PROGRAM = "trtllm-build"
PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""

TAIL = 12
"""Lines of the log that a failure shows."""


def flags(plan: Plan) -> dict[str, list[str]]:
    """The flags of both runs, without the folders; they go into the manifest as they are.

    `--max_input_len` has no effect while input is packed and attention is fused; it is said all
    the same, so that the plan stands in the engine's own configuration.
    """
    common = ["--moe_plugin", "disable", "--remove_input_padding", "enable"]
    common += ["--max_beam_width", "1", "--bert_attention_plugin", DTYPE]
    frames = str(plan.frames)
    return {
        "encoder": [
            *common,
            *("--gemm_plugin", "disable"),
            *("--max_batch_size", str(plan.encoder_windows)),
            *("--max_input_len", frames, "--max_seq_len", frames),
        ],
        "decoder": [
            *common,
            *("--gemm_plugin", DTYPE, "--gpt_attention_plugin", DTYPE),
            *("--max_batch_size", str(plan.windows)),
            *("--max_input_len", str(plan.max_input_len)),
            *("--max_seq_len", str(plan.max_seq_len)),
            # In mel frames, not in encoder outputs: the runtime shapes its buffers by these.
            *("--max_encoder_input_len", frames),
            *("--max_num_tokens", str(DECODER_TOKENS)),
            *("--tokens_per_block", str(TOKENS_PER_BLOCK)),
            *("--logits_dtype", LOGITS_DTYPE),
        ],
    }


def commands(plan: Plan, checkpoint: Path, out: Path) -> dict[str, list[str]]:
    """The argument lists of both runs, program first."""
    return {part: _command(plan, part, checkpoint, out / part) for part in flags(plan)}


def _command(plan: Plan, part: str, checkpoint: Path, out: Path) -> list[str]:
    folders = ["--checkpoint_dir", str(checkpoint / part), "--output_dir", str(out)]
    return [PROGRAM, *folders, *flags(plan)[part]]


def compile_engines(plan: Plan, checkpoint: Path, out: Path, say: Callable[[str], None]) -> None:
    """Run both; `out/{encoder,decoder}` hold `config.json` and `rank0.engine` then.

    One that is there already was finished by an earlier run, and is only looked at again. Each
    run's whole output goes to `out/{encoder,decoder}.log` and, line by line, to `say`.

    Raises:
        CompileError: the program is missing, fails, or builds something else than planned.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise CompileError(f"{PROGRAM} is not here; it comes with TensorRT-LLM")
    out.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(flags(plan), start=1):
        done, unfinished = out / part, out.with_name(f"{part}.unfinished")
        if done.is_dir():
            say(f"the {part} was compiled by an earlier run")
        else:
            remove(unfinished)
            say(f"compiling the {part}, {number} of 2; this takes minutes")
            command = _command(plan, part, checkpoint, unfinished)
            _run([program, *command[1:]], out / f"{part}.log", say)
            check_built(plan, part, unfinished)
            move(unfinished, done)
        check_built(plan, part, done)


def _run(command: list[str], log: Path, say: Callable[[str], None]) -> None:
    tail: deque[str] = deque(maxlen=TAIL)
    with (
        log.open("w", encoding="utf-8") as copy,
        subprocess.Popen(  # noqa: S603  our own arguments
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=log.parent.parent,  # it leaves its timing cache in its working folder
            preexec_fn=_die_with_parent,  # noqa: PLW1509  one system call, and no thread of ours
        ) as process,
    ):
        assert process.stdout is not None, "This is a bug: the output is a pipe"
        for line in process.stdout:
            copy.write(line)
            tail.append(line.rstrip())
            say(f"  {line.rstrip()}")
    if process.returncode != 0:
        last = "\n  ".join(tail)
        raise CompileError(f"{PROGRAM} failed with {process.returncode}; its last lines:\n  {last}")


def _die_with_parent() -> None:
    """A compiler without its build would keep the GPU busy beside the next one."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def check_built(plan: Plan, part: str, folder: Path) -> None:
    """That a built engine is the planned one, by its own configuration.

    Raises:
        CompileError: a file is missing, or a field differs.
    """
    if not (folder / "rank0.engine").is_file():
        raise CompileError(f"{PROGRAM} left no {part}/rank0.engine")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CompileError(f"{PROGRAM} left no readable {part}/config.json") from error
    for path, expected in _expected(plan, part).items():
        found = _field(config, path)
        if found != expected:
            raise CompileError(f"the {part} was built with {path} {found!r}, not {expected!r}")


def _expected(plan: Plan, part: str) -> Mapping[str, object]:
    """Fields of config.json that the server relies on, as dotted paths."""
    common = {
        "version": recordings.version(),
        "pretrained_config.dtype": DTYPE,
        "pretrained_config.vocab_size": plan.dims.n_vocab,
        "build_config.max_beam_width": 1,
        "build_config.plugin_config.remove_input_padding": True,
    }
    if part == "encoder":
        return common | {
            "pretrained_config.n_mels": plan.dims.n_mels,
            "build_config.max_batch_size": plan.encoder_windows,
            "build_config.max_seq_len": plan.frames,
        }
    return common | {
        "pretrained_config.logits_dtype": LOGITS_DTYPE,
        "build_config.max_batch_size": plan.windows,
        "build_config.max_seq_len": plan.max_seq_len,
        "build_config.max_encoder_input_len": plan.frames,
        "build_config.kv_cache_type": "PAGED",
        "build_config.plugin_config.paged_kv_cache": True,
        "build_config.plugin_config.tokens_per_block": TOKENS_PER_BLOCK,
    }


def _field(config: Any, path: str) -> object:  # noqa: ANN401  JSON
    for name in path.split("."):
        config = config.get(name) if isinstance(config, dict) else None
    found: object = config
    return found
