"""What a person may ask of the bench command, and the root of its complaints.

Knows: options and their defaults.
Must not know: the command line, or what an option brings about. Imports nothing heavy.
"""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PEERS = (
    "faster-whisper",
    "faster-whisper-batched",
    "openai-whisper",
    "openvino-genai",
    "whisper.cpp",
)

SLOW = ("openai-whisper", "whisper.cpp")
"""Peers that take several times as long as the others."""


class BenchError(Exception):
    """The run cannot start or go on; the message is for the person who started it."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """One field an option of the command; seconds and counts bound every part of a run."""

    url: str | None = None
    api_key: str = ""
    server_python: str | None = None
    clips: Path = ROOT / "tests" / "audio"
    short: int = 8
    rounds: int = 5
    slow_rounds: int = 5
    at_once: int = 8
    rate: float | None = None
    long_seconds: float = 600.0
    seconds: float = 120.0
    soak_minutes: float = 0.0
    beam: int = 5
    peers: bool = False
    peer: tuple[str, ...] = PEERS
    threads: int = 2
    model: Path | None = None
    cache: Path = Path("~/.cache/sussurro/bench")
    out: Path | None = None
    as_json: bool = False
