"""What the TensorRT-LLM engine needs of the library that its arrays are of.

Knows: the few calls that differ between PyTorch on a GPU and NumPy.
Must not know: either. `torch_arrays.py` has them on a GPU; tests bring NumPy's.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
import numpy.typing as npt

from server.decoding.rules import Array, Namespace
from server.types import LogMel


class Arrays(Protocol):
    """One device's arrays."""

    @property
    def xp(self) -> Namespace:
        """The array namespace: the module `numpy` or `torch`."""
        ...

    def features(self, log_mel: LogMel) -> Array:
        """A window as the executor takes it: float16 (3000, n_mels), contiguous, in host memory."""
        ...

    def mask(self, values: npt.NDArray[np.bool_]) -> Array:
        """A mask on the device."""
        ...

    def on_stream(self, pointer: int) -> AbstractContextManager[None]:
        """Inside it, work joins the CUDA stream at this address, in order."""
        ...

    def wait(self) -> None:
        """Until everything that `on_stream` was given is computed."""
        ...

    def numbers(self, values: Sequence[Array]) -> list[list[float]]:
        """Numbers and short vectors, of what is computed, on the host; each as a list."""
        ...
