"""A double of NVIDIA's module of this name: one card whose readings change with the time.

The names and units are nvidia-ml-py's: percent, bytes, degrees, milliwatts.
"""

import time
from types import SimpleNamespace

NVML_TEMPERATURE_GPU = 0


class NVMLError(Exception):
    """As the module's."""


def nvmlInit() -> None:  # noqa: N802 - the module's names, here and below
    """There is a driver."""


def nvmlDeviceGetHandleByIndex(index: int) -> int:  # noqa: N802
    """One card."""
    if index:
        raise NVMLError
    return index


def _wave() -> float:
    return (time.time() % 20) / 20


def nvmlDeviceGetUtilizationRates(_gpu: int) -> SimpleNamespace:  # noqa: N802
    return SimpleNamespace(gpu=round(40 + 50 * _wave()), memory=30)


def nvmlDeviceGetMemoryInfo(_gpu: int) -> SimpleNamespace:  # noqa: N802
    return SimpleNamespace(used=30 << 30, total=48 << 30)


def nvmlDeviceGetTemperature(_gpu: int, _sensor: int) -> int:  # noqa: N802
    return round(60 + 10 * _wave())


def nvmlDeviceGetPowerUsage(_gpu: int) -> int:  # noqa: N802
    return round(150_000 + 90_000 * _wave())
