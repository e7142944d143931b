"""What NVML says becomes figures; a double of its module stands in for a card."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from server.metrics.gpus import GpuCollector, load_nvml


class NvmlError(Exception):
    """As pynvml's."""


def driver(**more: Any) -> SimpleNamespace:
    """The functions that we call, in nvidia-ml-py's names and units (percent, bytes, mW)."""
    functions = {
        "NVMLError": NvmlError,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetUtilizationRates": lambda _: SimpleNamespace(gpu=40, memory=1),
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(used=3 << 30, total=48 << 30),
        "nvmlDeviceGetTemperature": lambda gpu, _: 60 + gpu,
        "nvmlDeviceGetPowerUsage": lambda _: 123_400,
    }
    return SimpleNamespace(**{**functions, **more})


def text_of(nvml: Any, gpus: tuple[int, ...] = (0, 1)) -> str:
    """The scrape."""
    registry = CollectorRegistry()
    registry.register(GpuCollector(nvml, gpus))
    return generate_latest(registry).decode()


def test_each_card_has_its_figures() -> None:
    """In base units, by the card's number."""
    values = {
        (sample.name.removeprefix("sussurro_gpu_"), sample.labels["gpu"]): sample.value
        for family in text_string_to_metric_families(text_of(driver()))
        for sample in family.samples
    }

    assert 10 == len(values)
    assert 0.4 == values["utilization_ratio", "0"]
    assert 48 << 30 == values["memory_total_bytes", "1"]
    assert 3 << 30 == values["memory_used_bytes", "0"]
    assert [60, 61] == [values["temperature_celsius", gpu] for gpu in "01"]
    assert 123.4 == values["power_watts", "0"]


def test_what_a_card_does_not_tell_is_left_out() -> None:
    """Some have no reading of power; the rest is told."""

    def refuse(_gpu: int) -> None:
        raise NvmlError

    text = text_of(driver(nvmlDeviceGetPowerUsage=refuse), (0,))

    assert "sussurro_gpu_power_watts{" not in text
    assert "sussurro_gpu_utilization_ratio{" in text


def test_without_a_driver_there_are_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module may be missing, or find no driver; neither stops the server."""

    def fail() -> None:
        raise NvmlError

    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert load_nvml() is None
    monkeypatch.setitem(sys.modules, "pynvml", driver(nvmlInit=fail))
    assert load_nvml() is None
    found = driver()
    monkeypatch.setitem(sys.modules, "pynvml", found)
    assert found is load_nvml()
