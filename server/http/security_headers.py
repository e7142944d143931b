"""What every answer tells a browser not to do.

Knows: the headers' names and values.
Must not know: what an answer says.
"""

from collections.abc import Iterable

HEADERS = (
    (b"cache-control", b"no-store"),  # what was said must lie in nobody's cache
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
"""A transcript that is taken for a page loads and runs nothing, and stands in no frame."""


def missing_from(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Those that an answer does not set by itself: a page knows better what it may do."""
    present = {name.lower() for name, _ in headers}
    return [header for header in HEADERS if header[0] not in present]
