"""Spans: what a request's time was spent on, for whoever collects them.

Knows: whether somebody does, and how a span begins and ends.
Must not know: OpenTelemetry (`otlp.py` alone does), or what a span is about. Off, as it is by
default, a span costs a function call, and nothing is imported.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

Attribute: TypeAlias = str | int | float | bool
Open: TypeAlias = Callable[
    [str, Mapping[str, Attribute], Mapping[bytes, bytes]], AbstractContextManager[None]
]
"""Begins a span: its name, its attributes, and the headers where it is a whole request."""

_OFF = nullcontext()
_open: Open | None = None


def collect(opens: Open | None) -> None:
    """From now on spans go there; None turns them off."""
    global _open  # noqa: PLW0603 - one process, one place that spans go to
    _open = opens


def span(
    name: str, headers: Mapping[bytes, bytes] | None = None, **attributes: Attribute
) -> AbstractContextManager[None]:
    """A span around a block, below the one that is open in this task.

    Args:
        name: one of few.
        headers: of the request, which may say what trace it belongs to.
        attributes: what is known of it; nothing that a caller said or sent.
    """
    return _OFF if _open is None else _open(name, attributes, headers or {})
