"""What can go wrong while an engine is built.

Knows: the ways to fail.
Must not know: how a failure is shown.

    BuildError
    ├── WeightsError      the weights cannot be had, or are not the pinned ones
    ├── CheckpointError   the weights are not a whole, unquantised Whisper
    ├── PlanError         the GPU is unknown, or the plan does not fit it
    ├── NoGpu             this machine cannot compile for that GPU
    ├── CompileError      trtllm-build failed, or built something else than was asked for
    └── GateError         the engine does not transcribe as its weights should
"""


class BuildError(Exception):
    """The build cannot go on; the message is for the person at the terminal."""


class WeightsError(BuildError):
    """The weights cannot be had, or are not the pinned ones."""


class CheckpointError(BuildError):
    """The weights are not a whole, unquantised Whisper."""


class PlanError(BuildError):
    """The GPU is unknown, or the plan does not fit it."""


class NoGpu(BuildError):
    """No compilation for that GPU is possible on this machine."""


class CompileError(BuildError):
    """trtllm-build failed, or built something else than was asked for."""


class GateError(BuildError):
    """The engine does not transcribe as its weights should."""
