"""A CPU model that was converted here: what it is, and whether what lies here is still that.

Knows: its manifest's fields.
Must not know: how it was made or is loaded. It only reads.
Unlike an engine for a GPU it is data, and runs on any machine; but one that is not exactly what
passed the gate is not loaded either.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from server.engines.manifest import (
    STRICT,
    BuiltFile,
    FileName,
    GateResult,
    Sha256,
    file_differences,
    read_as,
)
from server.errors import EngineError


@dataclass(frozen=True, slots=True, config=STRICT)
class ConvertedManifest:
    """One converted model; `created` is UTC in ISO 8601, `quantization` CTranslate2's word for it.

    `weights_sha256` is that of the `model.bin` it was made from.
    """

    format: Literal[1]
    engine: Literal["ctranslate2"]
    model: str
    created: str
    quantization: str
    versions: Mapping[str, str]
    weights_sha256: Sha256
    files: Mapping[FileName, BuiltFile]
    gate: GateResult


ADAPTER = TypeAdapter(ConvertedManifest)


def verify(folder: Path) -> ConvertedManifest:
    """The manifest, if everything in the folder is as it says; reads every byte.

    Raises:
        EngineError: anything differs; it says what, and which commands help.
    """
    manifest = read_as(ADAPTER, folder)
    if found := list(file_differences(folder, manifest.files)):
        raise EngineError(
            f"The converted model {manifest.model} is not loaded: {'; '.join(found)}. "
            f"Go back with `python -m ops engines rollback {manifest.model}`, or build it anew: "
            f"`python -m ops engines rebuild {manifest.model} --quantization "
            f"{manifest.quantization}`"
        )
    return manifest
