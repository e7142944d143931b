"""The server and its peers in turns, and probes of event loops."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

from ops.accuracy.manifest import Clip
from ops.bench import bare_loop
from ops.bench.beside import compare
from ops.bench.probe import Probe

SHORT = [Clip(Path("a.ogg"), "en", 4.0, "", "", "")]
LONG = Clip(Path("long.ogg"), "en", 60.0, "", "", "")


class Peer:
    """Says a word in no time."""

    def __init__(self, name: str, asked: Counter[str]) -> None:
        self.name = name
        self._asked = asked

    def ask(self, clip: Clip) -> tuple[str, float]:
        self._asked[f"{self.name} {clip.name}"] += 1
        return "word", 0.5

    def memory(self, _field: str = "") -> float:
        return 1.0


class Target(Peer):
    """The server answers with the text alone."""

    def ask(self, clip: Clip) -> Any:
        return super().ask(clip)[0]


def test_slow_peers_take_part_in_fewer_rounds() -> None:
    """The others in all of them, and every one of them has its row."""
    asked: Counter[str] = Counter()
    peers = [Peer(name, asked) for name in ("faster-whisper", "whisper.cpp")]
    target: Any = Target("server", asked)
    rows = compare(target, peers, SHORT, LONG, rounds=3, slow_rounds=1, progress=lambda _: None)  # type: ignore[arg-type]
    assert ["sussurro", "faster-whisper", "whisper.cpp"] == [row.name for row in rows]
    for name, rounds in (("server", 3), ("faster-whisper", 3), ("whisper.cpp", 1)):
        assert rounds == asked[f"{name} a.ogg"] == asked[f"{name} long.ogg"]


def test_a_bare_loop_answers_a_probe() -> None:
    """Again and again on one connection, as the server does."""
    with bare_loop.started() as url:
        probe = Probe(url)
        waits: list[float] = []
        end = time.monotonic() + 20
        while len(waits) < 3 and time.monotonic() < end:
            time.sleep(0.05)
            waits += probe.take()
        probe.close()
    assert len(waits) >= 3
    assert all(wait > 0 for wait in waits)
