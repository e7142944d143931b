"""The server and its peers on the same clips in the same run, taking turns.

Knows: rounds, medians, error rates.
Must not know: how a system works. Whatever else the machine does in a round hits all of them.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ops.accuracy.manifest import Clip
from ops.bench.figures import Beside, percentile
from ops.bench.load import closed_loop
from ops.bench.options import SLOW
from ops.bench.peers import PeerProcess
from ops.bench.target import Target

SERVER = "sussurro"

Ask = Callable[[Clip], tuple[str, float]]
"""A clip's text and the seconds that it took."""


@dataclass(slots=True)
class _Turns:
    short_s: list[float] = field(default_factory=list)
    in_line: list[list[float]] = field(default_factory=list)
    each: list[float] = field(default_factory=list)
    long_s: list[float] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)


def compare(  # noqa: PLR0913 - the run's parts
    target: Target,
    peers: Sequence[PeerProcess],
    short: Sequence[Clip],
    long: Clip,
    *,
    rounds: int,
    slow_rounds: int,
    progress: Callable[[str], None],
) -> list[Beside]:
    """The server first, then the peers, in their order; every round begins with another one.

    Slow peers take part in the first `slow_rounds`.
    """

    def ask_server(clip: Clip) -> tuple[str, float]:
        started = time.perf_counter()
        text = target.ask(clip)
        return text, time.perf_counter() - started

    systems: dict[str, Ask] = {SERVER: ask_server, **{peer.name: peer.ask for peer in peers}}
    turns = {name: _Turns() for name in systems}
    for number in range(rounds):
        names = list(systems)
        names = names[number % len(names) :] + names[: number % len(names)]
        if number >= slow_rounds:
            names = [name for name in names if name not in SLOW]
        for name in names:
            _turn(systems[name], short, turns[name])
        for name in names:
            text, seconds = systems[name](long)
            turns[name].texts[long.name] = text
            turns[name].long_s.append(seconds)
        progress(f"round {number + 1} of {rounds}")
    memory = {peer.name: peer.memory() for peer in peers}
    memory[SERVER] = target.memory("VmHWM")
    return [_row(name, turns[name], short, long, memory[name]) for name in systems]


def _turn(ask: Ask, short: Sequence[Clip], turns: _Turns) -> None:
    took = []
    for clip in short:
        turns.texts[clip.name], seconds = ask(clip)
        took.append(seconds)
    turns.each += took
    turns.in_line.append(list(itertools.accumulate(took)))
    turns.short_s.append(sum(took))


def _row(name: str, turns: _Turns, short: Sequence[Clip], long: Clip, memory: float) -> Beside:
    return Beside(
        name=name,
        short_s=statistics.median(turns.short_s),
        short_p50=percentile(turns.each, 50),
        short_p95=percentile(turns.each, 95),
        long_s=statistics.median(turns.long_s),
        short_wer=word_error_rate(short, turns.texts),
        long_wer=word_error_rate([long], turns.texts),
        memory_mb=memory or None,
        in_line_p95=statistics.median(percentile(turn, 95) for turn in turns.in_line),
    )


def at_once(
    target: Target, short: Sequence[Clip], *, clients: int, rounds: int
) -> tuple[float, float]:
    """Seconds until all short clips are done that are sent together, and their p95.

    Both are medians of the rounds.
    """
    walls, answers = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        done = closed_loop(target.ask, short, clients=clients, count=len(short), seconds=600)
        walls.append(time.perf_counter() - started)
        answers.append(percentile([sample.latency for sample in done], 95))
    return statistics.median(walls), statistics.median(answers)


def word_error_rate(clips: Sequence[Clip], texts: Mapping[str, str]) -> float | None:
    """Over all clips that have a reference; None without one, or without a normaliser."""
    clips = [clip for clip in clips if clip.reference]
    try:
        from ops.accuracy import metrics, normalise  # noqa: PLC0415  an extra

        errors = [
            metrics.count_errors(
                normalise.words(clip.reference, clip.language),
                normalise.words(texts[clip.name], clip.language),
            )
            for clip in clips
        ]
    except (ImportError, normalise.NormaliserMissing):
        return None
    return metrics.error_rate(errors) if errors else None
