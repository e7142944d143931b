"""TensorRT-LLM's strict double as what an actor loads, on the GPUs that Ray has given it."""

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from engine_folder import VERSIONS
from executor_double import Watch, make_bindings
from numpy_arrays import NumpyArrays

from server.engines import tensorrt_llm


def load(told: str, *arguments: Any, **options: Any) -> Any:
    """As `tensorrt_llm.load` where the packages are there; which GPUs it has is told in a file."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    (Path(told) / f"{os.getpid()} {given}").touch()
    cards = dict.fromkeys(range(len(given.split(","))), ("NVIDIA L40", "8.9"))
    arrays = ModuleType("server.engines.torch_arrays")
    arrays.TorchArrays = lambda _device: NumpyArrays()  # type: ignore[attr-defined]
    arrays.name_and_capability = cards.__getitem__  # type: ignore[attr-defined]
    bindings = ModuleType("tensorrt_llm.bindings")
    bindings.executor = make_bindings(watch=Watch())  # type: ignore[attr-defined]
    sys.modules |= {
        "tensorrt_llm": ModuleType("tensorrt_llm"),
        "tensorrt_llm.bindings": bindings,
        "server.engines.torch_arrays": arrays,
    }
    tensorrt_llm.installed = lambda _: VERSIONS
    return tensorrt_llm.load(*arguments, **options)
