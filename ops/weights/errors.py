"""What can go wrong with weights.

Knows: the three ways to fail.
Must not know: how a failure is shown.

    WeightsError
    ├── SourceUnavailable   a source could not be reached, or has not got the files
    └── WrongBytes          a source sent something else than the pinned file
"""


class WeightsError(Exception):
    """The weights could not be had; the message is for the person at the terminal."""


class SourceUnavailable(WeightsError):
    """A source could not be reached, or has not got the files; another one may."""


class WrongBytes(WeightsError):
    """A source sent something else than the pinned file; nothing of it was kept."""
