"""`python -m engine_build`: the command line.

Knows: flags, exit codes, how results are shown.
Must not know: how a step is done.

Exit codes: 0 all is well; 1 a step failed, and says why; 2 wrong usage.
"""

import os
import shlex
from dataclasses import replace
from pathlib import Path

import click

from engine_build import compile as compile_step
from engine_build.build import TOKENIZER, Source, build, get_weights
from engine_build.build import convert_only as convert_to
from engine_build.device import check_device
from engine_build.dims import SIZES
from engine_build.errors import BuildError, GateError
from engine_build.gpu_gate import gpu_gate
from engine_build.gpus import GPUS, find_gpu
from engine_build.plan import Plan, explain, make_plan
from engine_build.reference import CLIPS
from engine_build.weights import known_model

FILE = click.Path(exists=True, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
PATH = click.Path(path_type=Path)
WEIGHTS_DIR = "~/.cache/sussurro/weights"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("model")
@click.option("--gpu", type=click.Choice(tuple(GPUS)), default="l40", help="Build for this card.")
@click.option("--out", required=True, type=PATH, help="The new folder to publish to.")
@click.option("--windows", type=click.IntRange(1, 256), help="In flight [default: by the card].")
@click.option("--weights", "path", type=FILE, help="A .pt, or a CTranslate2 folder, of your own.")
@click.option("--sha256", help="The hash of --weights, if they are not the official ones.")
@click.option("--tokenizer", type=FILE, help="tokenizer.json [default: that of --weights].")
@click.option(
    "--reference",
    type=FOLDER,
    help="CTranslate2 folder of the same weights [default: SUSSURRO_WEIGHTS_DIR/MODEL].",
)
@click.option("--clips", type=FILE, default=CLIPS, show_default="ours", help="Reference clips.")
@click.option("--cache", type=PATH, default="~/.cache/sussurro/checkpoints", help="Downloads.")
@click.option("--explain", "explained", is_flag=True, help="Print the plan; build nothing.")
@click.option("--dry-run", is_flag=True, help="Print the trtllm-build commands; build nothing.")
@click.option("--convert-only", is_flag=True, help="Stop at TensorRT-LLM checkpoints.")
def main(  # noqa: PLR0913 - one parameter an option
    *,
    model: str,
    gpu: str,
    out: Path,
    windows: int | None,
    path: Path | None,
    sha256: str | None,
    tokenizer: Path | None,
    reference: Path | None,
    clips: Path,
    cache: Path,
    explained: bool,
    dry_run: bool,
    convert_only: bool,
) -> None:
    """Build TensorRT-LLM engines of MODEL (tiny … large-v3, large-v3-turbo) for one kind of GPU.

    Runs on a machine with that GPU and TensorRT-LLM; --explain, --dry-run and --convert-only run
    anywhere.
    """
    source = Source(cache.expanduser(), path, sha256, tokenizer)
    try:
        name = known_model(model)
        plan = make_plan(name, find_gpu(gpu), SIZES[name], windows)
        if explained:
            click.echo(explain(plan))
        if dry_run:
            _print_commands(plan, out)
        if explained or dry_run:
            return
        if convert_only:
            convert_to(plan, source, out, _say)
        else:
            _build(plan, source, out, reference or _reference(name, path), clips)
    except BuildError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror or error}") from error


def _say(line: str) -> None:
    click.echo(line, err=True)


def _reference(model: str, weights: Path | None) -> Path:
    """The weights themselves, or those that the CPU engine would serve."""
    if weights and weights.is_dir():
        return weights
    return Path(os.environ.get("SUSSURRO_WEIGHTS_DIR", WEIGHTS_DIR)).expanduser() / model


def _build(plan: Plan, source: Source, out: Path, reference: Path, clips: Path) -> None:
    check_device(plan.gpu)  # before anything is fetched
    if not (reference / TOKENIZER).is_file():
        raise GateError(
            f"nothing to judge the engine by in {reference}: `python -m ops weights get "
            f"{plan.model}` fetches it, --reference names another folder"
        )
    path = get_weights(plan.model, source, _say)
    gate = gpu_gate(plan.model, path, reference, clips, _say)
    tokenizer = source.tokenizer or reference / TOKENIZER
    build(plan, replace(source, tokenizer=tokenizer), out, _say, gate)


def _print_commands(plan: Plan, out: Path) -> None:
    for command in compile_step.commands(
        plan, out.with_name(f"{out.name}.checkpoint"), out
    ).values():
        click.echo(shlex.join(command))


if __name__ == "__main__":
    main(prog_name="engine_build")
