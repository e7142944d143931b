"""What a person may ask of the accuracy command, and the root of its complaints.

Knows: options and their defaults.
Must not know: the command line, or what an option brings about. Imports nothing heavy.
"""

from dataclasses import dataclass
from pathlib import Path

PEER_NAMES = ("openai-whisper", "faster-whisper", "faster-whisper-batched")


CLIPS = Path(__file__).resolve().parents[3] / "shared" / "audio" / "manifest.tsv"
"""Real speech with references, in a folder beside the checkout."""


class AccuracyError(Exception):
    """The run cannot start or go on; the message is for the person who started it."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """One field an option of the command; `url` None means a server of our own."""

    manifest: Path = CLIPS
    out: Path = Path("accuracy")
    clips: tuple[str, ...] = ()
    limit: int | None = None
    url: str | None = None
    no_server: bool = False
    server_python: str | None = None
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
