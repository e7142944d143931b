"""What a person may ask of the accuracy command, and the root of its complaints.

Knows: options and their defaults.
Must not know: the command line, or what an option brings about. Imports nothing heavy.
"""

from dataclasses import dataclass
from pathlib import Path

PEER_NAMES = ("openai-whisper", "faster-whisper", "faster-whisper-batched")


class AccuracyError(Exception):
    """The run cannot start or go on; the message is for the person who started it."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """One field an option of the command; `out` is a folder, `url` None means no server."""

    manifest: Path
    out: Path
    clips: tuple[str, ...] = ()
    limit: int | None = None
    url: str | None = None
    api_key: str = ""
    server_model: str = "whisper-1"
    mode: tuple[str, ...] = ()
    at_once: int | None = None
    peer: tuple[str, ...] = PEER_NAMES
    model: Path = Path("~/.cache/sussurro/weights/base")
    beam: int = 5
    threads: int = 1
    words: bool = False
    detect_language: bool = False
    cache: Path = Path("~/.cache/sussurro/accuracy")
