"""`./just fuzz`: many cases, in this process and over HTTP, and what they cost.

Ends with 1 at the first case that breaks something; the same seed finds it again.
"""

import faulthandler
import sys
import tempfile
import time
from itertools import chain, islice
from pathlib import Path

import click
import targets  # noqa: F401 - fills TARGETS
from http_cases import of_chance, of_files, of_forms
from seeding import SEED
from target import TARGETS
from watched import Holdings, Watched, own_rss_mib, watched

BATCH = 250
"""Cases of one target before the next has its turn."""

HANG_SECONDS = 900
"""Of one batch, the search for a smaller example included: then the stacks are written, and this
ends."""

WARM_UP = 1_000
"""HTTP cases before memory is looked at."""

GROWTH_MIB, MEDIA_GROWTH_MIB = 16.0, 2.0
"""What the server and its media process may have more at the end than after the warm-up."""


@click.command(help=__doc__)
@click.option("--cases", default=100_000, help="Cases in all; those over HTTP are among them.")
@click.option("--http", "http_cases", default=5_000, help="Cases over HTTP.")
@click.option("--seed", default=SEED, help="Where chance starts; another one each time by default.")
@click.option("--seconds", default=3_600.0, help="Start no new batch after this time.")
@click.option("--target", "names", multiple=True, help="Only these targets, and no HTTP.")
def main(cases: int, http_cases: int, seed: int, seconds: float, names: tuple[str, ...]) -> None:
    """Run it."""
    print(f"seed {seed}", flush=True)
    started = time.monotonic()
    unknown = set(names) - set(TARGETS)
    if unknown:
        raise click.UsageError(f"targets are {', '.join(sorted(TARGETS))}")
    if names or cases > http_cases:
        in_process(cases if names else cases - http_cases, seed, started + seconds, names)
    if not names and http_cases:
        with tempfile.TemporaryDirectory() as folder, watched(Path(folder)) as server:
            over_http(server, http_cases, seed, started + seconds)


def in_process(cases: int, seed: int, until: float, names: tuple[str, ...]) -> None:
    """The targets by turns."""
    chosen = sorted(names or TARGETS)
    started, done, slowest, rss = time.monotonic(), 0, (0.0, ""), 0.0
    while done < cases and time.monotonic() < until:
        for name in chosen:
            faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
            before = time.monotonic()
            TARGETS[name].run(BATCH, seed + done)
            faulthandler.cancel_dump_traceback_later()
            slowest = max(slowest, ((time.monotonic() - before) / BATCH * 1000, name))
            done += BATCH
            if done >= cases:
                break
        rss = rss or own_rss_mib()
    print(
        f"in process: {done} cases of {len(chosen)} targets in {time.monotonic() - started:.0f} s"
    )
    print(f"  slowest on average: {slowest[1]}, {slowest[0]:.1f} ms a case")
    print(
        f"  memory after the first round, after the last: {rss} MiB, {own_rss_mib()} MiB",
        flush=True,
    )


def over_http(server: Watched, cases: int, seed: int, until: float) -> None:
    """Hostile forms and files first, then chance."""
    fixed = [*of_forms(), *of_files()]
    made = chain(fixed, (of_chance(seed + number) for number in range(cases - len(fixed))))
    started = time.monotonic()
    server.send(islice(made, WARM_UP))
    before = server.holdings()
    server.send(case for case in made if time.monotonic() < until)
    seconds = time.monotonic() - started
    after = server.holdings()
    print(f"over HTTP: {server.ends.total()} cases in {seconds:.0f} s")
    print(f"  ends: {dict(server.ends.most_common())}")
    print(f"  refused files: {dict(server.reasons().most_common())}")
    print(f"  slowest: {server.slowest[0]} s, {server.slowest[1]}")
    print(f"  after {WARM_UP} cases: {before}\n  at the end: {after}")
    problems = [*server.faults, *map(str, server.process.lines("fault")), *_kept(before, after)]
    if server.ends["503"]:
        problems.append("some were sent away, so room was not given back")
    if not server.works():
        problems.append("an honest request is not answered any more")
    if code := server.process.stop():
        problems.append(f"the server ended with {code}")
    print(f"  faults: {len(problems)}", *problems[:20], sep="\n    ", flush=True)
    if problems:
        sys.exit(1)


def _kept(before: Holdings, after: Holdings) -> list[str]:
    """What the server did not give back."""
    limits = {"rss_mib": GROWTH_MIB, "media_rss_mib": MEDIA_GROWTH_MIB}
    return [
        f"{name} grew from {getattr(before, name)} to {getattr(after, name)}"
        for name in Holdings.__dataclass_fields__
        if getattr(after, name) - getattr(before, name) > limits.get(name, 0)
    ]


if __name__ == "__main__":
    main()
