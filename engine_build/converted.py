"""From weights to a converted model for the CPU: the story of such a build.

Knows: the order of the steps.
Must not know: the command line, or which build serves.
"""

import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from engine_build import manifest
from engine_build.checkpoint import sha256_of
from engine_build.errors import GateError
from engine_build.quantize import Quantization, quantize
from engine_build.work import Say, move, remove, work_for
from server.engines.converted import ADAPTER, ConvertedManifest
from server.engines.manifest import GateResult


def build_converted(  # noqa: PLR0913, PLR0917 - what is built, from what, to where, by which judge
    model: str,
    quantization: Quantization,
    source: Path,
    out: Path,
    say: Say,
    gate: Callable[[Path], GateResult],
    *,
    clock: manifest.Clock = manifest.now,
) -> ConvertedManifest:
    """A converted model in `out`, which appears at once or not at all.

    Interrupted, it is resumed by the next call for the same weights and quantization.

    Raises:
        BuildError: a step failed; `out` was not touched.
    """
    versions = {"ctranslate2": metadata.version("ctranslate2")}
    say(f"hashing the weights in {source}")
    sha256 = sha256_of(source / "model.bin")
    key = json.dumps([model, quantization, sha256, versions])
    with work_for(out, model, key, say) as work:

        def make(folder: Path) -> None:
            say(f"converting to {quantization}")
            quantize(source, folder, quantization, say)

        built = work.step("model", make)
        say("judging the model by the reference clips")
        try:
            result = gate(built)
        except GateError:
            remove(work.path)
            raise
        say("passed the gate")
        written = ConvertedManifest(
            format=1,
            engine="ctranslate2",
            model=model,
            created=clock().isoformat(timespec="seconds"),
            quantization=quantization,
            versions=versions,
            weights_sha256=sha256,
            files=manifest.built_files(built),
            gate=result,
        )
        manifest.save(built, ADAPTER.dump_python(written, mode="json"))
        manifest.protect(built)
        move(built, out)
        remove(work.path)
    say(f"{model} in {quantization}: {out}")
    return written
