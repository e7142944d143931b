"""The bench command: how fast, how fair and how large a server is, under load and beside its peers.

Knows: which part is public.
Must not know: anything else.
"""

from ops.bench.command import bench

__all__ = ["bench"]
