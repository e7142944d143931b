"""What NVIDIA's driver says of the GPUs, where its Python module (pynvml) is installed.

Knows: NVML. Must not know: engines, requests. Nothing of it is needed: without the module, the
driver or a GPU there are no such figures. Reading may block for milliseconds.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import structlog
from prometheus_client.core import GaugeMetricFamily

Nvml: TypeAlias = Any
"""The module pynvml, which has no types."""

READINGS: dict[str, tuple[str, Callable[[Nvml, Any], float]]] = {
    "utilization_ratio": (
        "Share of the last moments in which the GPU computed.",
        lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
    ),
    "memory_used_bytes": (
        "Memory in use.",
        lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used,
    ),
    "memory_total_bytes": (
        "Memory that there is.",
        lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).total,
    ),
    "temperature_celsius": (
        "Temperature of the chip.",
        lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
    ),
    "power_watts": (
        "Power that it draws.",
        lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
    ),
}
"""Figure → what it means, and how it is had. Not every card has every one."""


def load_nvml() -> Nvml | None:
    """NVML, initialised; None where the module, the driver or a card is missing."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except Exception as error:  # noqa: BLE001 - missing in many ways, and never needed
        structlog.get_logger().debug("no_gpu_metrics", error=type(error).__name__)
        return None
    return nvml


class GpuCollector:
    """The GPUs that the engines use; a figure that a card does not have is left out."""

    def __init__(self, nvml: Nvml, gpus: Sequence[int]) -> None:
        """`gpus` are numbers as NVML counts them."""
        self._nvml = nvml
        self._gpus = gpus

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family a figure, one sample a card."""
        for name, (meaning, read) in READINGS.items():
            family = GaugeMetricFamily(f"sussurro_gpu_{name}", meaning, labels=["gpu"])
            for number in self._gpus:
                try:
                    value = read(self._nvml, self._nvml.nvmlDeviceGetHandleByIndex(number))
                except self._nvml.NVMLError:
                    continue
                family.add_metric([str(number)], value)
            yield family

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Names alone, so that registering does not read the cards."""
        for name, (meaning, _) in READINGS.items():
            yield GaugeMetricFamily(f"sussurro_gpu_{name}", meaning, labels=["gpu"])
