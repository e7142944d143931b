"""A decoder in an attacker's hands: it does whatever Python the upload holds.

Imported by the media process of `hostile_server.py`; everything around it is production's own,
from the fork on: descriptors, limits, Landlock, seccomp.
"""

import contextlib
import ctypes
import mmap
import os
import resource
import signal
import socket
import subprocess
import threading
import time

from server.audio import zygote

DEED = b"#deed\n"
NAMES = (contextlib, ctypes, mmap, os, resource, signal, socket, subprocess, threading, time)
"""What deeds use, loaded before the doors close."""

_decode = zygote.load


def load(upload: int, pcm: int, max_samples: int) -> list[str]:
    """Decode as ever, or do the deed; one that nothing stops leaves a second of audio."""
    source = os.pread(upload, 1 << 16, 0)
    if not source.startswith(DEED):
        return _decode(upload, pcm, max_samples)
    names = {module.__name__: module for module in NAMES}
    names |= {"libc": ctypes.CDLL(None), "upload": upload, "pcm": pcm}
    exec(compile(source, "deed", "exec"), names)
    os.write(pcm, bytes(32_000))
    return []


zygote.load = load
