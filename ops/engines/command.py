"""`ops engines`: list, rebuild, activate, roll back and verify builds.

Knows: flags, exit codes, how results are shown. Progress goes to standard error.
Must not know: how any of it is done.

Exit codes: 0 all is well; 1 it could not be done, or a build is not what it was; 2 wrong usage;
78 wrong settings.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from engine_build.errors import BuildError
from engine_build.gpu_gate import gpu_gate
from engine_build.gpus import GPUS
from engine_build.quantize import QUANTIZATIONS, Quantization
from engine_build.reference import CLIPS
from ops.engines import builds as folder
from ops.engines import verify as look
from ops.engines.builds import Builds, BuildsError
from ops.engines.rebuild import Order, cpu_gate
from ops.engines.rebuild import rebuild as run
from ops.options import AS_JSON
from ops.settings import read_settings
from ops.weights.catalogue import load_catalogue
from ops.weights.command import get_models
from server.engines.choice import ENGINES, WEIGHT_FILES, EngineName
from server.engines.device import find_devices
from server.errors import EngineError

TAKES_EFFECT = (
    "A server takes it when it starts: restart the running one. "
    "SIGTERM lets its requests end, and /readyz says which build serves."
)

engine_option = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    help="[default: tensorrt_llm on a machine with a GPU, else ctranslate2]",
)
clips_option = click.option(
    "--clips",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=CLIPS,
    help="Table of reference clips: file, language, text [default: six that come along].",
)


@click.group()
def engines() -> None:
    """Build, switch and check engines and converted models, in SUSSURRO_ENGINES_DIR."""


@engines.command(name="list")
@AS_JSON
def list_builds(*, as_json: bool) -> None:
    """All builds, and which of them serve."""
    with _told():
        rows = [look.described(builds, name) for builds in _all() for name in builds.names()]
    if as_json:
        click.echo(json.dumps(rows))
    elif not rows:
        click.echo("no builds: models are served from their weights")
    for row in rows if not as_json else ():
        mark = "*" if row["active"] else " "
        what = f"{row['kind']}, {row['created']}" if "kind" in row else row["problem"]
        click.echo(f"{mark} {row['engine']:13}{row['model']:16}{row['build']:32}{what}")


@engines.command()
@click.argument("model")
@engine_option
@click.option(
    "--quantization", type=click.Choice(QUANTIZATIONS), default="int8", show_default=True,
    help="Of a model for the CPU.",
)  # fmt: skip
@click.option("--gpu", type=click.Choice(tuple(GPUS)), help="[default: the card that is here]")
@click.option("--windows", type=click.IntRange(1, 256), help="In flight [default: by the card].")
@clips_option
@click.option(
    "--keep", type=click.IntRange(1), default=3, show_default=True, help="Builds to keep."
)
@click.option("--activate/--no-activate", default=True, help="Let servers take it  [default: do]")
@AS_JSON
def rebuild(  # noqa: PLR0913 - one parameter an option
    *,
    model: str,
    engine: EngineName | None,
    quantization: Quantization,
    gpu: str | None,
    windows: int | None,
    clips: Path,
    keep: int,
    activate: bool,
    as_json: bool,
) -> None:
    """Build MODEL beside what serves, judge it by reference clips, and switch to it.

    What serves stays as it is until the new build has passed. A rebuild that was interrupted goes
    on where it was when it is run again.
    """
    settings = read_settings()
    engine = engine or _here()
    _refuse_without_gpu(engine)
    order = Order(
        model, engine, _weights(model), clips, quantization,
        settings.compute_type, gpu, windows,
    )  # fmt: skip
    with _told():
        done = run(order, settings.engines_dir.expanduser(), keep=keep, activate=activate, say=_say)
    if as_json:
        click.echo(json.dumps({"engine": order.engine, "model": model, **asdict(done)}))
    elif activate:
        click.echo(f"{done.build} is active. {TAKES_EFFECT}")
    else:
        click.echo(f"{done.build} is there: `ops engines activate {model} {done.build}`")


@engines.command()
@click.argument("model")
@click.argument("build")
@AS_JSON
def activate(*, model: str, build: str, as_json: bool) -> None:
    """Let servers take BUILD of MODEL, after a look at every byte of it."""
    with _told():
        found = [each for each in _all([model]) if build in each.names()]
        if not found:
            known = ", ".join(name for each in _all([model]) for name in each.names()) or "none"
            raise BuildsError(f"{model} has no build {build}; it has {known}")
        _say(f"hashing {model} {build}")
        if reason := look.problem(found[0], build):
            raise BuildsError(reason)
        found[0].activate(build)
    _switched(found[0], build, as_json=as_json)


@engines.command()
@click.argument("model")
@engine_option
@AS_JSON
def rollback(*, model: str, engine: EngineName | None, as_json: bool) -> None:
    """Go back to what served MODEL before; again, to what was before that."""
    builds = Builds(read_settings().engines_dir.expanduser(), engine or _here(), model)
    with _told():
        name = builds.rollback()
    _switched(builds, name, as_json=as_json)


@engines.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--gate", is_flag=True, help="Judge active builds by the reference clips again.")
@clips_option
@AS_JSON
def verify(*, models: Sequence[str], gate: bool, clips: Path, as_json: bool) -> None:
    """Read every byte of the builds that are here and compare with their manifests."""
    rows = []
    with _told():
        for builds in _all(models):
            for name in builds.names():
                _say(f"hashing {builds.model} {name}")
                row: dict[str, object] = {
                    "engine": builds.engine, "model": builds.model, "build": name,
                    "problem": look.problem(builds, name),
                }  # fmt: skip
                if gate and row["problem"] is None and name == builds.active():
                    row |= _judged(builds, name, clips)
                rows.append(row)
    if as_json:
        click.echo(json.dumps(rows))
    for row in rows if not as_json else ():
        click.echo(f"{row['engine']} {row['model']} {row['build']}: {row['problem'] or 'right'}")
    if any(row["problem"] for row in rows):
        raise click.exceptions.Exit(1)


def _judged(builds: Builds, name: str, clips: Path) -> dict[str, object]:
    model, settings = builds.model, read_settings()
    if builds.engine == "tensorrt_llm":
        if reason := look.no_gpu_gate():
            return {"gate": None, "problem": f"it cannot be judged here: {reason}"}
        weights = _weights(model)
        gate = gpu_gate(model, weights, weights, clips, _say)
    else:
        order = Order(
            model, builds.engine, _weights(model), clips,
            look.quantization(builds, name), settings.compute_type,
        )  # fmt: skip
        gate = cpu_gate(order, _say)
    result, reason = look.judge(builds, name, gate)
    return {"gate": asdict(result) if result else None, "problem": reason}


def _all(models: Sequence[str] = ()) -> Iterator[Builds]:
    root = read_settings().engines_dir.expanduser()
    for engine in ENGINES:
        for model in folder.models(root, engine):
            if not models or model in models:
                yield Builds(root, engine, model)


def _weights(model: str) -> Path:
    """The model's weights, fetched and checked if they are in the catalogue."""
    weights = read_settings().weights_dir.expanduser() / model
    if model in load_catalogue():
        get_models([model])
    elif missing := [name for name in WEIGHT_FILES if not (weights / name).is_file()]:
        raise click.ClickException(f"{weights} lacks {', '.join(missing)}, and nothing has them")
    return weights


def _refuse_without_gpu(engine: EngineName) -> None:
    """Before gigabytes of weights are fetched for nothing."""
    if engine == "tensorrt_llm":
        try:
            find_devices()
        except EngineError as error:
            raise click.ClickException(str(error)) from error


def _here() -> EngineName:
    try:
        find_devices()
    except EngineError:
        return "ctranslate2"
    return "tensorrt_llm"


def _switched(builds: Builds, name: str, *, as_json: bool) -> None:
    if as_json:
        row = {"engine": builds.engine, "model": builds.model, "active": name}
        click.echo(json.dumps(row))
    else:
        click.echo(f"{builds.model}: {name} is active. {TAKES_EFFECT}")


def _say(line: str) -> None:
    click.echo(line, err=True)


@contextmanager
def _told() -> Iterator[None]:
    """Failures as a line on standard error and exit code 1."""
    try:
        yield
    except (BuildError, BuildsError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror or error}") from error
