"""The NVIDIA GPUs of this machine, as their driver describes them.

Knows: nvidia-smi.
Must not know: models, engines. Nothing of CUDA is imported: that needs a driver, and takes memory.
"""

import csv
import shutil
import subprocess
from dataclasses import dataclass

from server.errors import EngineError

QUERY = ("name", "compute_cap", "driver_version", "memory.total")
TIMEOUT = 30.0
"""Seconds that nvidia-smi may take; without persistence mode it wakes the card first."""


@dataclass(frozen=True, slots=True)
class Device:
    """One card; `compute_capability` as `8.9`, `memory_mib` of it all."""

    name: str
    compute_capability: str
    driver: str
    memory_mib: int


def find_devices() -> tuple[Device, ...]:
    """The GPUs of this machine in the driver's order, at least one.

    Raises:
        EngineError: there is none, or the driver does not answer.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        raise EngineError("this machine has no NVIDIA driver (no nvidia-smi)")
    command = [program, f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(  # noqa: S603  our own arguments
            command, capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"nvidia-smi does not answer: {error}") from error
    rows = list(csv.reader(done.stdout.splitlines(), skipinitialspace=True))
    try:
        devices = tuple(
            Device(name, capability, driver, int(memory))
            for name, capability, driver, memory in rows
        )
    except ValueError:
        devices = ()
    if done.returncode != 0 or not devices:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise EngineError(
            f"the NVIDIA driver sees no GPU: {said[0] if said else 'it says nothing'}"
        )
    return devices
