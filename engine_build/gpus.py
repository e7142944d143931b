"""The GPUs that engines are planned for.

Knows: each one's memory, compute capability, and the names that its driver gives it.
Must not know: models, or this machine.
Source: NVIDIA's data sheets; memory is what nvidia-smi reports with ECC on, to be confirmed by
    the acceptance on the real card.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from engine_build.errors import PlanError


@dataclass(frozen=True, slots=True)
class Gpu:
    """One kind of card. `windows` is how many 30-s windows it is planned to have in flight."""

    key: str
    names: tuple[str, ...]
    memory_mib: int
    compute_capability: str
    windows: int


GPUS: Mapping[str, Gpu] = {
    gpu.key: gpu
    for gpu in (
        Gpu("l40", ("NVIDIA L40",), 46_068, "8.9", 32),
        Gpu("l40s", ("NVIDIA L40S",), 46_068, "8.9", 32),
        Gpu("l4", ("NVIDIA L4",), 23_034, "8.9", 16),
        Gpu("a10", ("NVIDIA A10", "NVIDIA A10G"), 22_731, "8.6", 16),
        Gpu("a100-40", ("NVIDIA A100-SXM4-40GB", "NVIDIA A100-PCIE-40GB"), 40_960, "8.0", 32),
        Gpu("a100-80", ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 80GB PCIe"), 81_920, "8.0", 64),
        Gpu("h100", ("NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe"), 81_559, "9.0", 64),
    )
}


def find_gpu(key: str) -> Gpu:
    """The GPU of that key.

    Raises:
        PlanError: there is none.
    """
    try:
        return GPUS[key]
    except KeyError:
        raise PlanError(f"no plan for a GPU {key!r}; there are {', '.join(GPUS)}") from None
