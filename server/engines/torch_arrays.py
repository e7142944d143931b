"""PyTorch's arrays on one GPU, and what that GPU is.

Knows: torch and CUDA streams.
Must not know: Whisper. Imports torch, so it is imported only where an engine needs it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from server.types import LogMel


class TorchArrays:
    """`Arrays` on the GPU of this number."""

    xp: Any = torch

    def __init__(self, device: int) -> None:
        self._device = torch.device("cuda", device)
        self._done: Any = None

    def features(self, log_mel: LogMel) -> torch.Tensor:
        """In page-locked memory, so that the executor's copy to the GPU holds nobody up."""
        host = torch.empty(log_mel.shape[::-1], dtype=torch.float16, pin_memory=True)
        return host.copy_(torch.from_numpy(log_mel).T)

    def mask(self, values: npt.NDArray[np.bool_]) -> torch.Tensor:
        """On the GPU, copied in the order of the current stream."""
        return torch.from_numpy(values).pin_memory().to(self._device, non_blocking=True)

    @contextmanager
    def on_stream(self, pointer: int) -> Iterator[None]:
        """Work joins the executor's stream; an event marks its end, for `wait`."""
        stream = torch.cuda.ExternalStream(pointer, device=self._device)
        with torch.cuda.stream(stream), torch.inference_mode():
            yield
            self._done = stream.record_event()

    def wait(self) -> None:
        """For the executor's stream, up to the last step."""
        if self._done is not None:
            self._done.synchronize()

    def numbers(self, values: Sequence[Any]) -> list[list[float]]:
        """In one copy, on this thread's own stream."""
        flat = [torch.as_tensor(value, device=self._device).reshape(-1) for value in values]
        host = torch.cat([each.float() for each in flat]).tolist()
        lists = []
        for each in flat:
            lists.append(host[: len(each)])
            host = host[len(each) :]
        return lists


def name_and_capability(device: int) -> tuple[str, str]:
    """What the driver calls the GPU, and its compute capability, such as `8.9`.

    Raises:
        RuntimeError: there is no such GPU, or no driver.
    """
    major, minor = torch.cuda.get_device_capability(device)
    return torch.cuda.get_device_name(device), f"{major}.{minor}"
