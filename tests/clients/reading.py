"""A text that a client shows as a cell of docs/errors-as-read.md.

Knows: what of it differs from one request to the next, or stands elsewhere on the page.
Must not know: which client shows it.
"""

import re


def cell(shown: str, message: str) -> str:
    """The text, with … for the server's message."""
    return f"`{numbered(shown).replace(numbered(message) or '…', '…')}`"


def numbered(text: str) -> str:
    """Without what differs from one request to the next."""
    return re.sub(r"(?<=in )\d+(?= s)|\d+(?= bytes read)", "N", text)
