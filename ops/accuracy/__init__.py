"""The accuracy command: what is heard right, by whom, and how sure that is.

Knows: which part is public.
Must not know: anything else.
"""

from ops.accuracy.command import accuracy

__all__ = ["accuracy"]
